"""The check that `max_new_tokens` does not exceed the context of the model.

The consequence depends on the source of the value. A typed value is an error; a value from a file
is skipped and reported; a preset that ships with the program is limited without a message.
"""

from __future__ import annotations

from dataclasses import replace

from tui_chat.chat.params import SPECS, Preset
from tui_chat.config import paths
from tui_chat.config.file import read_config_file
from tui_chat.config.layers import LoadedSettings
from tui_chat.errors import ConfigError, ParameterError, UsageError
from tui_chat.safe_text import safe_line

_NAME = "max_new_tokens"


def within_context(
    loaded: LoadedSettings, preset: Preset | None, context: int
) -> tuple[LoadedSettings, tuple[ConfigError, ...]]:
    """Return the settings for a model with a context of `context` tokens, and their problems.

    Args:
        loaded: The settings.
        preset: The preset underneath them; None if unknown.
        context: The model's context in tokens; an upper bound before its files have been read.

    Raises:
        UsageError: If a typed value, or a typed preset of the user's, exceeds the context.
    """
    parameters = loaded.settings.parameters
    try:
        if _NAME in parameters:
            SPECS[_NAME].within(context).check(parameters[_NAME])
        elif preset is not None:
            preset.check_within(context)
        return loaded, ()
    except ParameterError as error:
        refused = error
    key = f"parameters.{_NAME}" if _NAME in parameters else "preset"
    source = loaded.sources.get(key, "models.toml")
    detail = f"{refused.detail}, {context} tokens"
    if source == "flag":
        raise UsageError(refused.title, detail, refused.hint)
    kept = {name: value for name, value in parameters.items() if name != _NAME}
    if key == "preset":
        kept[_NAME] = context
    settings = replace(loaded.settings, parameters=kept)
    problem = _with_place(ConfigError(refused.title, detail, refused.hint), key, source)
    return replace(loaded, settings=settings), (problem,)


def _with_place(problem: ConfigError, key: str, source: str) -> ConfigError:
    """Return the problem with its location, derived from `LoadedSettings.sources`."""
    where = source
    if source == "config.toml":
        table, _, name = key.rpartition(".")
        problem.in_file(paths.config_file())
        where = read_config_file(paths.config_file()).where(name, table)
    elif source == "models.toml":
        problem.in_file(paths.user_models_file())
        where = safe_line(str(paths.user_models_file()), 160)
    problem.detail = f"{problem.detail} ({where})"
    return problem
