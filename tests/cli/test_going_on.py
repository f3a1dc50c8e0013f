"""A chat that is gone on with has its model and parameters back, unless others are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine
from tui_chat.chat.conversation import Conversation
from tui_chat.cli.opening import session_settings, usable_settings
from tui_chat.config.layers import LoadedSettings
from tui_chat.config.settings import Settings
from tui_chat.engine.files.registry import load_registry


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


def with_model(name: str) -> Conversation:
    conversation = chat()
    conversation.model = name
    return conversation


def test_a_chat_goes_on_with_its_own_model_unless_one_is_typed() -> None:
    registry, spoken_with = load_registry(), with_model("oasst-12b")
    assert session_settings(loaded({}), registry, spoken_with).load.model == "oasst-12b"
    configured = loaded({"model": "config.toml"}, model="pythia-160m")
    assert session_settings(configured, registry, spoken_with).load.model == "oasst-12b"
    typed = loaded({"model": "flag"}, model="pythia-160m")
    assert session_settings(typed, registry, spoken_with).load.model == "pythia-160m"


@pytest.mark.parametrize("name", ["gone", "/no/such/directory"])
def test_a_model_that_is_not_there_any_more_is_told(name: str) -> None:
    registry, spoken_with = load_registry(), with_model(name)
    _, problems = usable_settings(loaded({}), registry, spoken_with)
    (said,) = [problem.one_line for problem in problems]
    assert said.startswith(f"The model of this chat, {name}, is not there any more: ")
    assert "guide is used" in said
    assert session_settings(loaded({}), registry, spoken_with).load.model == "guide"
    typed = loaded({"model": "flag"}, model="guide")
    assert usable_settings(typed, registry, spoken_with)[1] == []


def test_data_use_of_the_settings_is_that_of_new_chats(run: CommandLine, home: Path) -> None:
    (home / "config.toml").write_text("data_use = false\n")
    chat_id = run("ask", "Secret?", "--json").json["chat_id"]
    refused = run("transcripts", "export", chat_id, "--format", "oasst")
    assert refused.code == 1 and "data use is off" in refused.complaint
    (home / "config.toml").write_text("data_use = true\n")
    run("ask", "And this?", "--continue", chat_id)
    assert run("transcripts", "export", chat_id, "--format", "oasst").code == 1
    other = run("ask", "Open?", "--json").json["chat_id"]
    assert run("transcripts", "export", other, "--format", "oasst").code == 0
