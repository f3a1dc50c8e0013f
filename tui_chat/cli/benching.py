"""What `bench` measures: the typed options as `bench.BenchOptions`."""

from __future__ import annotations

from dataclasses import replace

from tui_chat.bench import FILLER, GREEDY, BenchOptions
from tui_chat.cli.file_problems import one_for_each_file
from tui_chat.cli.opening import load_chat, session_settings, usable_settings
from tui_chat.cli.output import complain
from tui_chat.config import LoadedSettings
from tui_chat.engine.registry import Registry
from tui_chat.session.reply import sendable

DEFAULT_NEW_TOKENS = 128


def bench_options(
    loaded: LoadedSettings,
    registry: Registry,
    resume: str | None,
    new_tokens: int | None,
    rounds: int,
) -> BenchOptions:
    """The options of one measurement.

    Settings of files choose the model and how it is loaded. How it writes is only what was typed,
    so that figures do not change with a user's taste.

    Args:
        loaded: All settings.
        registry: The known models and presets.
        resume: The saved chat that the prompt is made of; None for filler.
        new_tokens: Tokens to write, where that was typed.
        rounds: At least 1.

    Raises:
        UsageError: If a typed preset or parameter cannot be used.
        TuiChatError: If the chat cannot be read.
    """
    saved = load_chat(resume) if resume is not None else None
    usable, problems = usable_settings(loaded, registry, saved)
    for line in one_for_each_file(problems):
        complain(line)
    settings, sources = usable.settings, usable.sources

    def is_typed(name: str) -> bool:
        return sources.get(name) == "flag"

    load = session_settings(usable, registry, saved).load
    if not is_typed("context"):
        load = replace(load, context=None)
    if not is_typed("reserve"):
        load = replace(load, reserve=None)
    params = GREEDY
    if settings.preset is not None and is_typed("preset"):
        params = registry.presets[settings.preset].params()
    values = {n: v for n, v in settings.parameters.items() if is_typed(f"parameters.{n}")}
    wanted = new_tokens if new_tokens is not None else values.get("max_new_tokens", load.reserve)
    texts = [settings.system if is_typed("system") else ""]
    texts += [FILLER] if saved is None else [m.text for m in sendable(saved.path())]
    return BenchOptions(
        load,
        load.context,
        DEFAULT_NEW_TOKENS if wanted is None else wanted,
        rounds=rounds,
        params=params.with_values(values),
        text="\n\n".join(text for text in texts if text),
    )
