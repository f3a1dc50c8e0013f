"""A chat that is gone on with has its preset and parameters back, unless others are typed."""

from __future__ import annotations

from typing import Any

import pytest

from tui_chat.chat.conversation import Conversation
from tui_chat.cli.opening import session_settings
from tui_chat.config import LoadedSettings
from tui_chat.engine.registry import load_registry
from tui_chat.settings import Settings


def chat(**working: Any) -> Conversation:
    conversation = Conversation()
    conversation.append("user", "Hi")
    conversation.working = working
    return conversation


KEPT = chat(preset="k50-precise", values={"top_k": 7, "temperature": 99, "nonsense": 1})


def loaded(sources: dict[str, str], **values: Any) -> LoadedSettings:
    return LoadedSettings(Settings(**values), sources)


def test_what_was_kept_is_used_as_far_as_it_is_valid() -> None:
    settings = session_settings(loaded({}), load_registry(), KEPT)
    assert (settings.preset, dict(settings.overrides)) == ("k50-precise", {"top_k": 7})


def test_config_toml_does_not_change_a_chat_that_has_its_own() -> None:
    wanted = loaded(
        {"preset": "config.toml", "parameters.top_k": "config.toml"},
        preset="greedy",
        parameters={"top_k": 3},
    )
    settings = session_settings(wanted, load_registry(), KEPT)
    assert (settings.preset, settings.overrides["top_k"]) == ("k50-precise", 7)


def test_what_is_typed_wins() -> None:
    one = loaded({"parameters.top_k": "flag"}, parameters={"top_k": 3})
    assert session_settings(one, load_registry(), KEPT).overrides["top_k"] == 3
    other = loaded({"preset": "flag"}, preset="greedy")
    settings = session_settings(other, load_registry(), KEPT)
    assert (settings.preset, dict(settings.overrides)) == ("greedy", {})


@pytest.mark.parametrize("working", [{}, {"preset": "gone"}, {"preset": ["x"], "values": 3}])
def test_without_anything_usable_it_begins_as_any_chat(working: dict[str, Any]) -> None:
    settings = session_settings(loaded({}), load_registry(), chat(**working))
    assert (settings.preset, dict(settings.overrides)) == (None, {})
