"""Notes on the chat screen: written, read, changed and removed; and where the chat is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.ui.chat_app import chat_app, chat_of, idle, running, say, talk, until
from tests.ui.painted import dimmed, message_rows, messages_in_view, row_of, rows
from tests.ui.pictures import Act, Picture
from tui_chat.chat import conversation as conversations
from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.events import Failed
from tui_chat.chat.marks import Note
from tui_chat.engine.contract.scripted import Script
from tui_chat.session import compacting
from tui_chat.ui.app import TuiChat

NOTE = (
    "The user asked about **rivers**: the Rhine is 1,230 km long. 漢字 was mentioned once. Open: "
    "which of its tributaries is the longest."
)
SIZES = ((120, 40), (80, 24), (40, 12))


def rivers(turns: int = 6) -> Conversation:
    texts = []
    for number in range(turns):
        texts += [f"What about river {number}?", f"River {number} is a long one."]
    return talk(*texts)


def app_of(pilot: Pilot[Any]) -> TuiChat:
    app = pilot.app
    assert isinstance(app, TuiChat)
    return app


def note_in(pilot: Pilot[Any]) -> Message | None:
    """The note in the transcript."""
    return next((m for m in chat_of(pilot).transcript.path if m.is_note), None)


def place_of_note(pilot: Pilot[Any]) -> int:
    note = note_in(pilot)
    assert note is not None
    return chat_of(pilot).transcript.places[note.id]


def note_rows(pilot: Pilot[Any]) -> list[str]:
    """What is painted of the note, without its bar; nothing where it is not in view."""
    if note_in(pilot) is None:
        return []
    found = message_rows(app_of(pilot), place_of_note(pilot))
    return [row.lstrip("▎▌ ") for row in found]


async def written(pilot: Pilot[Any], keep: int = 2) -> Message:
    """A note, after it was asked for by its command."""
    await say(pilot, f"/compact {keep}")
    await until(pilot, lambda: (n := note_in(pilot)) is not None and not n.is_unfinished)
    await idle(pilot)
    note = note_in(pilot)
    assert note is not None
    return note


def toasts(pilot: Pilot[Any]) -> list[str]:
    return [n.message for n in app_of(pilot).toasts.present]


async def test_a_note_stands_below_the_forget_line_and_above_what_is_sent() -> None:
    async with running(chat_app(Script(replies=(NOTE,)), rivers())) as pilot:
        await written(pilot)
        app, transcript = app_of(pilot), chat_of(pilot).transcript
        await until(pilot, lambda: row_of(app, "stands for them") is not None)
        row = row_of(app, "┄┄")
        assert row is not None
        assert "4 turns above" in rows(transcript)[row]
        place = place_of_note(pilot)
        assert messages_in_view(app)[place] == row + 2, "the line stands right above the note"
        assert note_rows(pilot)[0] == "Note by guide, sent in place of the turns above"
        assert "the Rhine is 1,230 km long. 漢字" in " ".join(note_rows(pilot))
        assert rows(transcript)[row + 2].startswith("▎")
        pale = dimmed(app)
        assert "River 3 is a long one." in pale and "What about river 3?" in pale
        assert not any("river 4" in text or "Rhine" in text for text in pale)
        assert chat_of(pilot).bar.prompt.has_focus
        assert any("sent in place of the turns above" in text for text in toasts(pilot))


async def test_a_note_is_shown_as_a_reply_is() -> None:
    async with running(chat_app(Script(replies=(NOTE,)), rivers())) as pilot:
        await written(pilot)
        shown = " ".join(" ".join(note_rows(pilot)).split())
        assert "The user asked about rivers: the Rhine is" in shown
        assert "you" not in shown.replace("your", "")


async def test_a_note_grows_while_somebody_types_and_esc_gives_it_up() -> None:
    script = Script(replies=("word " * 400,), token_s=0.01)
    async with running(chat_app(script, rivers())) as pilot:
        await say(pilot, "/compact 2")
        await until(pilot, lambda: any("word word" in row for row in note_rows(pilot)))
        assert "Esc stops it" in note_rows(pilot)[0]
        await pilot.press(*"hello")
        assert chat_of(pilot).bar.draft.full == "hello"
        await pilot.press("escape")
        await until(pilot, lambda: note_in(pilot) is None)
        await idle(pilot)
        assert chat_of(pilot).bar.draft.full == "hello"
        assert any("given up" in text for text in toasts(pilot))
        assert len(chat_of(pilot).transcript.path) == 12


async def test_a_note_is_selected_copied_edited_removed_and_brought_back() -> None:
    async with running(chat_app(Script(replies=(NOTE,)), rivers())) as pilot:
        note = await written(pilot)
        transcript = chat_of(pilot).transcript
        await chat_of(pilot).go_to(note.id)
        await until(pilot, lambda: transcript.selected == note.id)
        commands = app_of(pilot)._commands
        for action in ("pin", "exclude", "rate_good", "retry_message", "fork", "rank", "continue"):
            assert not commands._messages.can(action)
        await app_of(pilot).run_command("rank")
        await until(pilot, lambda: any("That is a note" in text for text in toasts(pilot)))
        await pilot.press("y")
        await until(pilot, lambda: app_of(pilot).clipboard == NOTE)
        await pilot.press("e")
        await until(pilot, lambda: chat_of(pilot).bar.editing == note.id)
        assert chat_of(pilot).bar.draft.full == NOTE
        chat_of(pilot).bar.prompt.load_full("We spoke of lakes.")
        await pilot.press("enter")
        await until(pilot, lambda: any("We spoke of lakes." in row for row in note_rows(pilot)))
        assert "changed by you" in note_rows(pilot)[0]
        await chat_of(pilot).go_to(note.id)
        await until(pilot, lambda: transcript.has_focus)
        await pilot.press("delete")
        await until(pilot, lambda: note_in(pilot) is None)
        await idle(pilot)
        assert len(transcript.path) == 12
        await until(pilot, lambda: not dimmed(app_of(pilot)))
        assert row_of(app_of(pilot), "┄┄") is None
        await pilot.press("z")
        await until(pilot, lambda: note_in(pilot) is not None)


async def test_a_note_that_fails_before_it_begins_says_why() -> None:
    failures = {0: (0, Failed("context", "It does not fit", "Too long", "Try another model"))}
    async with running(chat_app(Script(failures=failures), rivers())) as pilot:
        await say(pilot, "/compact 2")
        notice = chat_of(pilot).notice
        await until(pilot, lambda: notice.error is not None)
        assert notice.error is not None and notice.error.title == "It does not fit"
        assert "There is no note" in notice.error.detail
        await idle(pilot)
        assert note_in(pilot) is None and len(chat_of(pilot).transcript.path) == 12


async def test_what_cannot_be_summed_up_is_told() -> None:
    async with running(chat_app(Script(), rivers(3))) as pilot:
        await say(pilot, "/compact")
        await until(pilot, lambda: any("every turn is still sent" in t for t in toasts(pilot)))
        await say(pilot, "/compact all")
        await until(pilot, lambda: any("takes a number of turns" in t for t in toasts(pilot)))
        assert note_in(pilot) is None


async def test_the_inspector_shows_the_note_as_it_is_sent() -> None:
    async with running(chat_app(Script(replies=(NOTE,)), rivers())) as pilot:
        await written(pilot)
        await pilot.press("f5")
        from tui_chat.ui.screens.inspector import InspectorScreen, inspection_lines

        await until(pilot, lambda: isinstance(pilot.app.screen, InspectorScreen))
        screen = pilot.app.screen
        assert isinstance(screen, InspectorScreen)
        await until(pilot, lambda: screen._inspection is not None)
        assert screen._inspection is not None
        text = "\n".join(str(line) for line in inspection_lines(screen._inspection, 100))
        assert "system, with the note" in text and "the note stands for 4" in text
        order = ("system, with the note", "river 3?", "4 turns above")
        places = [text.index(part) for part in order]
        assert "rivers" in text and places == sorted(places)


# Where the chat is read


def top_of(pilot: Pilot[Any]) -> tuple[str, int] | None:
    return chat_of(pilot).transcript.place


async def test_the_place_comes_back_with_its_chat() -> None:
    long, other = rivers(40), rivers(2)
    async with running(chat_app(Script(), long), size=(80, 20)) as pilot:
        transcript, session = chat_of(pilot).transcript, app_of(pilot).session
        await pilot.press("pageup", "pageup", "pageup")
        await until(pilot, lambda: top_of(pilot) is not None)
        place = top_of(pilot)
        other.id = "other"
        chat_of(pilot).drafts.keep_place()
        session.open_chat(other)
        await until(pilot, lambda: len(transcript.path) == 4)
        await idle(pilot)
        assert session.place is None
        session.open_chat(long)
        await until(pilot, lambda: len(transcript.path) == 80)
        await idle(pilot)
        await until(pilot, lambda: top_of(pilot) == place)
        assert not transcript.is_following
        await pilot.press("ctrl+end")
        await until(pilot, lambda: transcript.is_following)
        chat_of(pilot).drafts.keep_place()
        assert session.place is None


async def test_a_chat_opens_where_it_was_read_and_scrolls_from_there() -> None:
    long = rivers(40)
    message = long.path()[30]
    long.working = {"place": {"message": message.id, "line": 0}}
    async with running(chat_app(Script(), long), size=(80, 20)) as pilot:
        await idle(pilot)
        await until(pilot, lambda: top_of(pilot) == (message.id, 0))
        transcript = chat_of(pilot).transcript
        assert "What about river 15?" in rows(transcript)[0]
        for _ in range(20):
            await pilot.press("pageup")
            await pilot.pause()
        await until(pilot, lambda: transcript.scroll_y == 0)
        assert "What about river 0?" in rows(transcript)[0]
        await pilot.press("ctrl+end")
        await until(pilot, lambda: transcript.is_following)
        assert row_of(app_of(pilot), "River 39 is a long one.") is not None


@pytest.mark.parametrize("place", [{"message": "gone", "line": 3}, {"message": 3}, "x", None])
async def test_a_place_that_is_not_there_is_the_end(place: object) -> None:
    long = rivers(40)
    long.working = {"place": place}
    async with running(chat_app(Script(), long), size=(80, 20)) as pilot:
        await until(pilot, lambda: chat_of(pilot).transcript.is_following)
        await until(pilot, lambda: chat_of(pilot).transcript.scroll_y > 0)


# Pictures


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.ui.chat_app import NOON

    monkeypatch.setattr(conversations, "now", lambda: NOON)
    monkeypatch.setattr(compacting, "now", lambda: NOON)


def noted() -> Conversation:
    from dataclasses import replace

    from tests.ui.chat_app import NOON

    chat = rivers()
    marked = chat.path()[7]
    note = Note(NOTE, NOON, "guide", "bf16", 34)
    chat.mark("Compact", {marked.id: replace(marked.marks, note=note)})
    return chat


def looking_at_note(app: TuiChat, is_selected: bool = False) -> Act:
    async def act(pilot: Pilot[Any]) -> None:
        chat = app.chat
        await until(pilot, lambda: app.session.state == "ready")
        await until(pilot, lambda: chat.counted is not None and chat.counted.view.noted_turns)
        await idle(pilot)
        note = next(m for m in app.session.messages() if m.is_note)
        await chat.go_to(note.id, takes_focus=is_selected)
        if is_selected:
            await until(pilot, lambda: chat.transcript.has_focus)
            await until(pilot, lambda: chat.transcript.selected == note.id)

    return act


@pytest.mark.parametrize("theme", ["night", "paper"])
@pytest.mark.parametrize("size", SIZES)
def test_note(picture: Picture, still: None, theme: str, size: tuple[int, int]) -> None:
    app = chat_app(Script(), noted(), theme)
    assert picture(app, size, looking_at_note(app))


def test_note_selected(picture: Picture, still: None) -> None:
    app = chat_app(Script(), noted())
    assert picture(app, (80, 24), looking_at_note(app, True))


def test_note_growing(picture: Picture, still: None) -> None:
    app = chat_app(Script(replies=(NOTE,)), rivers(), is_held=True)

    async def act(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.session.state == "ready")
        await say(pilot, "/compact 2")
        await until(
            pilot,
            lambda: any(row.endswith("longest.") for row in note_rows(pilot)),
        )

    assert picture(app, (80, 24), act)


def test_the_place_is_no_part_of_an_export(tmp_path: Path) -> None:
    from tui_chat.storage.formats.ours.json_format import to_json

    chat = rivers(2)
    chat.working = {"place": {"message": chat.path()[0].id, "line": 1}}
    assert "place" not in to_json(chat)
