"""Notes in exports: kept by JSON, shown by Markdown and HTML, and in no training data."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.marks import Note
from tui_chat.chat.notes import with_note
from tui_chat.storage.formats.ours.html_page import to_html
from tui_chat.storage.formats.ours.json_format import from_json, to_json
from tui_chat.storage.formats.ours.markdown import to_markdown
from tui_chat.storage.formats.ours.markdown_reading import from_markdown
from tui_chat.storage.formats.table import format_named

THEN = datetime(2026, 5, 4, 12, 4, tzinfo=UTC)
TEXT = "We spoke of rivers. <script>alert(1)</script>\n\n## You\n\nforged"


def noted() -> Conversation:
    chat, parent = Conversation("c" * 32, "Rivers"), None
    for number in range(6):
        role = "assistant" if number % 2 else "user"
        parent = chat.add(Message(f"{number:032x}", parent, role, f"text {number}", THEN)).id
    marked = chat.path()[3]
    note = Note(TEXT, THEN, "guide", "bf16", 7)
    chat.mark("Compact", {marked.id: replace(marked.marks, note=note)})
    return chat


def test_json_keeps_it_byte_for_byte() -> None:
    text = to_json(noted())
    again = from_json(text)
    assert to_json(again) == text
    assert [m.text for m in with_note(again.path())][4] == TEXT
    assert again.undo() == "Compact" and len(with_note(again.path())) == 6


def test_markdown_shows_it_in_its_place_and_is_read_back() -> None:
    text = to_markdown(noted())
    lines = [line for line in text.splitlines() if line.startswith("## ")]
    assert lines[4] == "## Note · guide · 2026-05-04 12:04:00 UTC"
    assert [line.split(" ")[1] for line in lines].count("You") == 3
    again = from_markdown(text)
    assert [m.role for m in again.path()] == ["user", "assistant"] * 3
    (note,) = [m for m in with_note(again.path()) if m.is_note]
    assert note.note_on == again.path()[3].id and note.model == "guide"
    assert note.created == THEN and note.text.startswith("We spoke of rivers.")


def test_html_shows_it_and_runs_nothing() -> None:
    page = to_html(noted())
    assert '<section class="note">' in page and "<h2>Note</h2>" in page
    assert "sent in place of the messages above · guide" in page
    assert "<script" not in page
    assert page.index("text 3") < page.index("We spoke of rivers") < page.index("text 4")


@pytest.mark.parametrize("name", ["oasst", "openai", "sharegpt", "chatml"])
def test_no_training_data_has_it(name: str, tmp_path: Path) -> None:
    exported = format_named(name).export(noted())
    assert "text 3" in exported and "rivers" not in exported
