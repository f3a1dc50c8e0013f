"""`transcripts`: list, show, export and delete what was said."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tui_chat.chat.marks import ChatDetails
from tui_chat.config import paths
from tui_chat.storage.database.leases import ChatLease, lease_dir
from tui_chat.storage.database.writing import TranscriptStore


@pytest.fixture
def chat_id(run: CommandLine) -> str:
    """A saved chat with one turn."""
    run.script.replies = ["Fine \x1b[31mred\x1b[0m."]
    return str(run("ask", "How are\x1b]0;x\x07 you?", "--json").json["chat_id"])


def test_an_empty_list_is_an_empty_list(run: CommandLine, home: Path) -> None:
    assert run("transcripts", "list", "--json").json == []
    assert run("transcripts", "list").out == ""
    assert not (home / "transcripts.db").exists(), "looking makes no database"


def test_list_shows_newest_first(run: CommandLine, chat_id: str) -> None:
    second = run("ask", "Another", "--json").json["chat_id"]
    chats = run("transcripts", "list", "--json").json
    assert [chat["id"] for chat in chats] == [second, chat_id]
    assert set(chats[0]) == {
        "id", "title", "model", "created", "updated", "turns", "messages", "tags", "archived",
    }  # fmt: skip
    assert (chats[1]["turns"], chats[1]["messages"], chats[1]["model"]) == (1, 2, "guide")
    assert [c["id"] for c in run("transcripts", "list", "--json", "--limit", "1").json] == [second]
    table = run("transcripts", "list").out
    assert chat_id[:8] in table and "\x1b" not in table


def test_the_list_is_filtered_as_a_search_is(run: CommandLine, chat_id: str) -> None:
    run.script.replies = ["Wet."]
    second = run("ask", "Rivers", "--json").json["chat_id"]
    with TranscriptStore(paths.database_file()) as store, store.change():
        chat = store.load(second)
        chat.details = ChatDetails(tags=("water",), archived=True)
        store.save_conversation(chat)

    def listed(*words: str) -> list[str]:
        return [chat["id"] for chat in run("transcripts", "list", "--json", *words).json]

    assert listed("--filter", "tag:water") == listed("--filter", "is:archived") == [second]
    assert listed("--filter", "is:active") == listed("--filter", "fine") == [chat_id]
    assert listed("--filter", "role:user", "--limit", "1") == [second]
    assert listed("--filter", "storks") == []
    assert second[:8] in run("transcripts", "list", "--filter", "wet").out
    result = run("transcripts", "list", "--filter", "is:old")
    assert (result.code, result.out) == (2, "") and "is:archived or is:active" in result.complaint


def test_show_and_export_by_the_beginning_of_the_id(run: CommandLine, chat_id: str) -> None:
    shown = run("transcripts", "show", chat_id[:6])
    assert shown.code == 0 and "How are" in shown.out
    record = json.loads(run("transcripts", "show", "last", "--json").out)
    assert record["chat"]["id"] == chat_id
    assert record["messages"][1]["text"] == "Fine \x1b[31mred\x1b[0m."
    exported = run("transcripts", "export", "last", "--format", "json").out
    assert json.loads(exported) == record


def test_a_file_is_written_in_the_format_of_its_name_and_never_replaced_unasked(
    run: CommandLine, chat_id: str, tmp_path: Path
) -> None:
    for name, start in (("chat.md", "---\n"), ("chat.json", '{"format"')):
        path = tmp_path / name
        result = run("transcripts", "export", chat_id, "-o", str(path))
        assert result.out == f"{path}\n" and path.read_text().startswith(start)
    again = run("transcripts", "export", chat_id, "-o", str(path))
    assert again.code == 1 and "already there" in again.complaint
    assert run("transcripts", "export", chat_id, "-o", str(path), "--force").code == 0
    assert run("transcripts", "export", chat_id, "-o", str(tmp_path / "x.pdf")).code == 2
    assert run("transcripts", "export", chat_id, "-o", "/no/such/folder/x.md").code == 1


def test_a_terminal_gets_no_control_characters(
    run: CommandLine, chat_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    out = run("transcripts", "export", chat_id).out
    assert "\x1b" not in out and "How are" in out


def test_a_deleted_chat_can_be_brought_back(run: CommandLine, chat_id: str) -> None:
    result = run("transcripts", "delete", chat_id[:8])
    assert result.code == 0 and f"--undo {chat_id}" in result.out
    assert run("transcripts", "list", "--json").json == []
    assert run("transcripts", "show", chat_id).code == 1
    assert run("transcripts", "delete", "--undo", chat_id, "--json").json == {"restored": [chat_id]}
    assert len(run("transcripts", "list", "--json").json) == 1
    assert run("transcripts", "delete", "last", "--json").json == {"deleted": [chat_id]}


def test_an_unknown_chat_is_an_error(run: CommandLine, chat_id: str) -> None:
    for words in (["show"], ["export"], ["delete"]):
        result = run("transcripts", *words, "ffffffffffff")
        assert result.code == 1 and "no saved chat" in result.complaint
    assert len(run("transcripts", "list", "--json").json) == 1


def test_a_damaged_database_is_one_line_and_is_not_touched(run: CommandLine, home: Path) -> None:
    path = home / "transcripts.db"
    path.write_bytes(b"no database at all " * 300)
    result = run("transcripts", "list", "--json")
    assert result.code == 1 and result.out == "" and str(path) in result.complaint
    assert path.read_bytes().startswith(b"no database")


def test_a_damaged_database_is_set_aside_by_a_chat(run: CommandLine, home: Path) -> None:
    path = home / "transcripts.db"
    path.write_bytes(b"no database at all " * 300)
    result = run("ask", "hi", "--json")
    assert result.code == 0 and "damaged" in result.complaint
    assert len(run("transcripts", "list", "--json").json) == 1


def test_a_chat_that_is_open_elsewhere_is_not_deleted(run: CommandLine, chat_id: str) -> None:
    lease = ChatLease(paths.database_file(), chat_id)
    assert lease.take()
    try:
        result = run("transcripts", "delete", chat_id)
        assert result.code == 1 and result.out == ""
        assert "open in a running tui-chat" in result.complaint
        assert "Close it there first" in result.complaint
        assert [chat["id"] for chat in run("transcripts", "list", "--json").json] == [chat_id]
    finally:
        lease.give_back()
    assert run("transcripts", "delete", chat_id).code == 0
    assert not lease_dir(paths.database_file()).exists()


def test_a_chat_that_cannot_be_deleted_is_one_line(
    run: CommandLine, chat_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
        raise error

    monkeypatch.setattr(TranscriptStore, "delete", read_only)
    result = run("transcripts", "delete", chat_id)
    assert (result.code, result.out) == (1, "")
    assert "read-only" in result.complaint
    assert run("transcripts", "show", chat_id).code == 0
