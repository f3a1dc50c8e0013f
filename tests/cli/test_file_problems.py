"""What is wrong with the user's files: one clear line for each file, and the work goes on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.storage.faults import sqlite_error
from tui_chat.cli.file_problems import one_for_each_file
from tui_chat.errors import ModelNotFoundError, Remedy
from tui_chat.storage.database import file as db
from tui_chat.storage.database.writing import TranscriptStore

BROKEN_MODELS = """
default = "mine"
[models.mine]
source = "a/b"
templat = "raw"
[models.other]
context = 1
[presets.third]
colour = 1
"""


@pytest.mark.parametrize(
    "words",
    [
        ["ask", "hi"],
        ["models", "list"],
        ["models", "show", "guide"],
        ["render", "--message", "user:hi"],
        ["--plain"],
    ],
)
def test_a_broken_models_file_is_one_line(run: CommandLine, home: Path, words: list[str]) -> None:
    (home / "models.toml").write_text(BROKEN_MODELS)
    result = run(*words)
    assert result.code == 0
    line = result.complaint
    assert line.startswith(f"4 mistakes in {home / 'models.toml'}, the first: [")
    assert "line " in line and line.endswith("`tui-chat doctor` lists them all.")


def test_doctor_lists_every_mistake(run: CommandLine, home: Path) -> None:
    (home / "models.toml").write_text(BROKEN_MODELS)
    problems = " ".join(p["title"] for p in run("doctor", "--json").json["problems"])
    for part in ("[models.mine]", "[models.other]", "[presets.third]", "'mine' is not known"):
        assert part in problems


def test_each_broken_file_has_its_line(run: CommandLine, home: Path) -> None:
    (home / "models.toml").write_text(BROKEN_MODELS)
    (home / "config.toml").write_text("modle = 1\npresicion = 2\n")
    lines = run("ask", "hi").err.splitlines()
    assert [line.split(",")[0].rpartition("/")[2] for line in lines] == [
        "config.toml", "models.toml"
    ]  # fmt: skip


@pytest.fixture(params=["file", "under a file", "too long", "nowhere"])
def impossible(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `TUI_CHAT_HOME` that cannot be a folder."""
    blocked = home / "blocked"
    blocked.write_text("in the way")
    folder = {
        "file": blocked,
        "under a file": blocked / "a" / "b",
        "too long": home / ("x" * 300),
        "nowhere": Path("/proc/no/such/place"),
    }[request.param]
    monkeypatch.setenv("TUI_CHAT_HOME", str(folder))
    return folder


def test_an_impossible_home_is_one_line_and_the_reply_comes(
    run: CommandLine, impossible: Path
) -> None:
    for words in (["ask", "hi"], ["--plain"], ["models", "show", "guide"]):
        result = run(*words, stdin="")
        assert result.code == 0, words
        assert result.complaint.startswith("TUI_CHAT_HOME cannot be used: ")
        assert "chats are not saved" in result.complaint
        assert "Set it to a folder, or unset it" in result.complaint


def test_commands_about_chats_are_refused_without_a_home(
    run: CommandLine, impossible: Path
) -> None:
    for words in (
        ["transcripts", "list", "--json"],
        ["transcripts", "show", "last"],
        ["transcripts", "delete", "last"],
        ["ask", "-c", "last", "hi"],
        ["render", "--chat", "last"],
    ):
        result = run(*words)
        assert (result.code, result.out) == (1, ""), words
        assert result.complaint.startswith("TUI_CHAT_HOME cannot be used: ")


def test_doctor_fails_on_an_impossible_home_with_that_problem_alone(
    run: CommandLine, impossible: Path
) -> None:
    result = run("doctor", "--json")
    assert result.code == 1
    (problem,) = result.json["problems"]
    assert problem["title"] == "TUI_CHAT_HOME cannot be used"
    assert all(problem.values())


def test_a_home_that_is_missing_is_made(
    run: CommandLine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUI_CHAT_HOME", str(home / "a" / "b"))
    assert run("ask", "hi").err == ""
    assert (home / "a" / "b" / "transcripts.db").is_file()


def test_a_read_only_database_is_one_line(
    run: CommandLine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("ask", "first").code == 0
    refused = sqlite_error(sqlite3.SQLITE_READONLY)
    monkeypatch.setattr(db, "_try_to_write", lambda connection: refused)
    for words in (["ask", "hi"], ["--plain"]):
        result = run(*words)
        assert result.code == 0
        assert result.complaint == (
            f"{home / 'transcripts.db'} can only be read: chats can be opened, but nothing is "
            "saved. Make the file and its folder writable."
        )


@pytest.mark.parametrize("words", [["ask", "hello"], ["--plain"]])
def test_a_disk_that_gets_full_meanwhile_is_told_at_the_end(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def full(*_: object) -> None:
        raise sqlite_error(sqlite3.SQLITE_FULL)

    with monkeypatch.context() as patch:
        patch.setattr(TranscriptStore, "save_message", full)
        result = run(*words, stdin="hello\n" if words == ["--plain"] else "")
    assert result.code == 0 and result.out
    assert result.complaint == (
        "Not saved yet: the disk is full. What is missing is kept, and saved at the next start."
    )
    assert "are saved now" in run("ask", "again").complaint
    chats = run("transcripts", "list", "--json").json
    assert {chat["title"] for chat in chats} == {"hello", "again"}


def test_a_problem_says_what_to_type() -> None:
    problem = ModelNotFoundError("There is no model", "", "See the list", Remedy.CHOOSE_MODEL)
    (line,) = one_for_each_file([problem])
    assert line == "There is no model. See the list (`tui-chat models list` shows them)."
