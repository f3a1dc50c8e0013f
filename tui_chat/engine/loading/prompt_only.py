"""Composes a model's prompts without loading its weights, to show what would be sent to it.

Only the tokenizer and a few small files are read. It ignores memory, so it also works for a model
that is too large for this machine, and it never downloads.
"""

from __future__ import annotations

import logging

from tui_chat.chat.prompt import PromptComposer
from tui_chat.chat.templates import PromptTemplate, template_named
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.checkpoint import AGAIN, broken, read_checkpoint
from tui_chat.engine.files.hub import Hub
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.loading.preflight import decide_budget, decide_template
from tui_chat.engine.machine.libraries import configure_libraries
from tui_chat.engine.text.chat_template import AutoTemplate
from tui_chat.engine.text.tokenizer import HFEncoder
from tui_chat.errors import ModelLoadError
from tui_chat.safe_text import safe_line

_log = logging.getLogger(__name__)


def read_composer(
    request: LoadRequest, registry: Registry, hub: Hub | None = None
) -> PromptComposer:
    """Return the composer of a model's prompts, the same as if the model were loaded.

    Args:
        request: The model, with template, context and reserve if they differ from its own. The
            other fields are ignored.
        registry: The models known by name.
        hub: The hub and its cache; the usual cache if None.

    Raises:
        ModelNotFoundError: If the model does not exist.
        ModelLoadError: If it is not on this machine, its files are unusable, or context and
            reserve do not suit it.
        ConfigError: If the template does not exist, or does not suit the tokenizer.
    """
    configure_libraries()
    spec = registry.resolve(request.model)
    directory = spec.directory or (hub or Hub()).snapshot(spec.source, spec.revision)
    if directory is None:
        raise ModelLoadError(
            f"{safe_line(spec.name, 100)} is not on this machine",
            f"It would have to be downloaded from {safe_line(spec.source, 100)}",
            "Load it once in the chat, or choose a model that is here",
        )
    checkpoint = read_checkpoint(directory)
    context, reserve, _ = decide_budget(spec, request, checkpoint)
    name = decide_template(spec, request, checkpoint)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        _log.exception("no tokenizer")
        cause = f"cannot be read as a tokenizer ({type(error).__name__})"
        raise broken(directory / "tokenizer.json", cause, AGAIN) from None
    encoder = HFEncoder(tokenizer)
    template: PromptTemplate = (
        AutoTemplate(tokenizer, encoder) if name == "auto" else template_named(name)
    )
    return PromptComposer(template, encoder, context, reserve)
