"""Options of `bench`: from the typed options to `bench.BenchOptions`."""

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
    """The typed options of the measurement itself."""

    new_tokens: int | None = None
    """Tokens to generate; None if not typed."""
    rounds: int = 3
    """Number of rounds, at least 1."""
    paths: str = "eager"
    """Decode paths, separated by commas."""
    chat_turns: int = 0
    """Turns of the measured chat; 0 for none."""
    over_contexts: bool = False


def bench_options(
    loaded: LoadedSettings, registry: Registry, resume: str | None, wanted: Wanted
) -> BenchOptions:
    """Return the options of a measurement.

    Settings from files choose the model and how it is loaded. Sampling uses only typed options, so
    that the results do not depend on the user's preferences.

    Args:
        loaded: All settings.
        registry: The known models and presets.
        resume: The saved chat that supplies the prompt; None for filler text.
        wanted: The typed options of the measurement.

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
