"""What `bench` measures: the typed options as `bench.BenchOptions`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tui_chat.bench import FILLER, GREEDY, BenchOptions, parse_paths
from tui_chat.cli.file_problems import one_for_each_file
from tui_chat.cli.opening import load_chat, session_settings, usable_settings
from tui_chat.cli.output import complain
from tui_chat.config.layers import LoadedSettings
from tui_chat.engine.files.registry import Registry
from tui_chat.session.reply import sendable

DEFAULT_NEW_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed about the measurement itself."""

    new_tokens: int | None = None
    """Tokens to write; None where that was not typed."""
    rounds: int = 3
    """At least 1."""
    paths: str = "eager"
    """Names with commas between them."""
    chat_turns: int = 0
    """0 for no chat."""
    over_contexts: bool = False


def bench_options(
    loaded: LoadedSettings, registry: Registry, resume: str | None, wanted: Wanted
) -> BenchOptions:
    """The options of one measurement.

    Settings of files choose the model and how it is loaded. How it writes is only what was typed,
    so that figures do not change with a user's taste.

    Args:
        loaded: All settings.
        registry: The known models and presets.
        resume: The saved chat that the prompt is made of; None for filler.
        wanted: What is to be measured.

    Raises:
        UsageError: If a path does not exist, or a typed preset or parameter cannot be used.
        TuiChatError: If the chat cannot be read.
    """
    paths = parse_paths(wanted.paths)
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
    new_tokens = wanted.new_tokens
    if new_tokens is None:
        new_tokens = values.get("max_new_tokens", load.reserve)
    texts = [settings.system if is_typed("system") else ""]
    texts += [FILLER] if saved is None else [m.text for m in sendable(saved.path())]
    return BenchOptions(
        load,
        load.context,
        DEFAULT_NEW_TOKENS if new_tokens is None else new_tokens,
        params=params.with_values(values),
        text="\n\n".join(text for text in texts if text),
        paths=paths,
        rounds=wanted.rounds,
        over_contexts=wanted.over_contexts,
        chat_turns=wanted.chat_turns,
    )
