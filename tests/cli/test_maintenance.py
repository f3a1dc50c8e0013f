"""`transcripts check|backup|vacuum`, as they are typed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tui_chat.storage.database.leases import ProcessLease


@pytest.fixture
def database(run: CommandLine, home: Path) -> Path:
    """A database with one saved chat of one turn."""
    run("ask", "How are you?", "--json")
    return home / "transcripts.db"


def test_check_is_one_line_or_says_what_is_wrong(run: CommandLine, database: Path) -> None:
    good = run("transcripts", "check")
    assert (good.code, good.out) == (0, "Nothing is wrong. Chats: 1, messages: 2.\n")
    connection = sqlite3.connect(database)
    connection.execute("UPDATE chats SET messages = 9")
    connection.commit()
    connection.close()
    bad = run("transcripts", "check")
    assert bad.code == 1 and "counted wrong" in bad.out and "--repair" in bad.out
    record = run("transcripts", "check", "--json")
    assert record.code == 1
    assert [p["kind"] for p in record.json["problems"]] == ["count"]
    mended = run("transcripts", "check", "--repair", "--json")
    assert mended.code == 0 and mended.json["ok"]
    assert [p["kind"] for p in mended.json["repaired"]] == ["count"]


def test_check_of_a_damaged_file_says_how_to_go_on(run: CommandLine, database: Path) -> None:
    database.write_bytes(b"no database at all " * 300)
    result = run("transcripts", "check")
    assert result.code == 1 and "damaged" in result.out and "sets the file aside" in result.out


def test_backup_names_its_file(run: CommandLine, database: Path, tmp_path: Path) -> None:
    dated = Path(run("transcripts", "backup").out.strip())
    assert dated.parent == database.parent and dated.name.startswith("transcripts-")
    copy = tmp_path / "copy.db"
    record = run("transcripts", "backup", str(copy), "--json").json
    assert record == {"path": str(copy), "bytes": copy.stat().st_size}
    again = run("transcripts", "backup", str(copy))
    assert again.code == 1 and "already there" in again.complaint
    assert run("transcripts", "backup", str(copy), "--force").code == 0


def test_vacuum_says_what_came_back_or_why_not(run: CommandLine, database: Path) -> None:
    assert "bytes came back" in run("transcripts", "vacuum").out
    assert run("transcripts", "vacuum", "--json").json["freed"] == 0
    lease = ProcessLease(database)
    lease.hold()
    refused = run("transcripts", "vacuum")
    lease.release()
    assert refused.code == 1 and "open for writing" in refused.complaint


def test_without_a_database_they_fail_in_one_line(run: CommandLine, home: Path) -> None:
    for command in ("check", "backup", "vacuum"):
        result = run("transcripts", command)
        assert result.code == 1 and "no transcript database" in result.complaint
    assert not (home / "transcripts.db").exists()
