"""`transcripts search`: what was said, found again."""

from __future__ import annotations

import sys

import pytest

from tests.cli.conftest import CommandLine


@pytest.fixture
def chat_id(run: CommandLine) -> str:
    """A saved chat with one turn."""
    run.script.replies = ["Grey \x1b[31m herons\x1b]0;x\x07 stand still."]
    return str(run("ask", "Tell me of herons", "--json").json["chat_id"])


def test_json_says_where_each_message_is(run: CommandLine, chat_id: str) -> None:
    (reply,) = run("transcripts", "search", "herons", "role:assistant", "--json").json
    assert set(reply) == {
        "chat_id", "title", "message_id", "role", "model", "created", "snippet",
    }  # fmt: skip
    assert (reply["chat_id"], reply["role"], reply["model"]) == (chat_id, "assistant", "guide")
    assert reply["title"] == "Tell me of herons" and "herons\x1b]0" in reply["snippet"]
    assert len(run("transcripts", "search", "herons", "--json").json) == 2
    assert len(run("transcripts", "search", "herons", "--limit", "1", "--json").json) == 1
    assert run("transcripts", "search", "storks", "--json").json == []


def test_a_pipe_gets_plain_lines(run: CommandLine, chat_id: str) -> None:
    result = run("transcripts", "search", "heron*")
    assert result.code == 0 and "\x1b" not in result.out and "\x07" not in result.out
    assert f"{chat_id[:8]}  " in result.out and "you  Tell me of herons" in result.out
    assert run("transcripts", "search", "storks").out == ""


def test_matches_are_coloured_on_a_terminal_with_colours(
    run: CommandLine, chat_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = run("transcripts", "search", "herons", "stand").out
    assert "\x1b[1;33mherons\x1b[0m" in out and " \x1b[1;33mstand\x1b[0m still." in out
    assert "\x1b[31m" not in out and "\x1b]" not in out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("transcripts", "search", "herons").out


@pytest.mark.parametrize("words", [["rol:user"], ["..."], ["before:soon"]])
def test_wrong_usage_is_one_line(run: CommandLine, words: list[str]) -> None:
    result = run("transcripts", "search", *words)
    assert (result.code, result.out) == (2, "") and result.complaint
