"""Exports to files: formats by name and suffix, and files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.storage.chats import facts, short_chat
from tui_chat.errors import StoreError
from tui_chat.storage.atomic import write_atomically
from tui_chat.storage.formats.ours.json_format import from_json
from tui_chat.storage.formats.table import FORMATS, export_to_file, format_named, format_of


def test_the_file_name_chooses_the_format(tmp_path: Path) -> None:
    conversation = short_chat()
    markdown = export_to_file(conversation, tmp_path / "chat.md")
    data = export_to_file(conversation, tmp_path / "chat.JSON")
    assert markdown.read_text().startswith("---\n")
    assert facts(from_json(data.read_text())) == facts(conversation)
    for name, form in (
        ("a.jsonl.gz", "oasst"), ("a.messages.jsonl", "oasst-messages"), ("a.HTML", "html"),
        ("a.openai.jsonl", "openai"), ("a.preferences.jsonl.gz", "preferences"),
    ):  # fmt: skip
        assert format_of(tmp_path / name) is FORMATS[form]
    named = export_to_file(conversation, tmp_path / "chat.txt", format_named("json"))
    assert named.read_text() == data.read_text()


def test_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"\.md, \.json, .* or \.preferences\.jsonl"):
        format_of(tmp_path / "chat.docx")
    with pytest.raises(StoreError, match=r"md, json, .* or preferences"):
        format_named("pdf")


def test_a_file_that_is_there_is_not_replaced_unless_told(tmp_path: Path) -> None:
    target = tmp_path / "chat.md"
    target.write_text("precious")
    with pytest.raises(StoreError, match="already there"):
        export_to_file(short_chat(), target)
    assert target.read_text() == "precious"
    export_to_file(short_chat(), target, overwrite=True)
    assert target.read_text() != "precious"
    assert os.listdir(tmp_path) == ["chat.md"]


def test_a_link_is_followed_when_replacing_and_kept_otherwise(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    with pytest.raises(StoreError, match="already there"):
        write_atomically(link, "new")
    write_atomically(link, "new", overwrite=True)
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.md"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_atomically(target, "new", overwrite=True)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.md"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no such folder"):
        write_atomically(tmp_path / "nowhere" / "a.md", "x")


def test_permissions_are_those_asked_for(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "secret", b"\x00", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
