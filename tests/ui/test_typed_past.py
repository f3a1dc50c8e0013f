"""Keys that arrive faster than the focus moves, in one piece, or where nothing takes them."""

from __future__ import annotations

from textual import events

from tests.ui.chat_app import chat_app, chat_of, running, talk, until
from tui_chat.ui.textual_fixes.driver import ESCAPE_DELAY_S, PieceReader, escape_delay
from tui_chat.ui.textual_fixes.input_splitter import Sequence


async def test_a_burst_over_the_transcript_is_typed_and_runs_no_command() -> None:
    async with running(chat_app(conversation=talk("One", "Two"))) as pilot:
        await pilot.press("escape")
        await until(pilot, lambda: chat_of(pilot).transcript.has_focus)
        before = len(pilot.app.session.conversation)  # type: ignore[attr-defined]
        for character in "/xyreuz":  # after the first, letters that are commands of the transcript
            key = "slash" if character == "/" else character
            pilot.app.post_message(events.Key(key, character))
        await until(pilot, lambda: chat_of(pilot).bar.draft.full == "/xyreuz")
        assert len(pilot.app.session.conversation) == before  # type: ignore[attr-defined]


async def test_letters_are_commands_again_when_the_transcript_gets_the_focus_back() -> None:
    async with running(chat_app(conversation=talk("One", "Two"))) as pilot:
        await pilot.press("escape", "w")
        await until(pilot, lambda: chat_of(pilot).bar.draft.full == "w")
        await pilot.press("escape")
        await until(pilot, lambda: chat_of(pilot).transcript.has_focus)
        await pilot.press("k")
        await until(pilot, lambda: chat_of(pilot).bar.draft.full == "w")


async def test_a_paste_over_the_transcript_goes_to_the_prompt() -> None:
    async with running(chat_app(conversation=talk("One", "Two"))) as pilot:
        await pilot.press("escape")
        await until(pilot, lambda: chat_of(pilot).transcript.has_focus)
        pilot.app.post_message(events.Paste("from elsewhere"))
        await until(pilot, lambda: chat_of(pilot).bar.draft.full == "from elsewhere")
        assert chat_of(pilot).bar.prompt.has_focus


async def test_a_narrow_sheet_still_shows_how_to_leave() -> None:
    async with running(chat_app(conversation=talk("One", "Two")), size=(24, 12)) as pilot:
        await pilot.press("f4")
        await until(pilot, lambda: pilot.app.screen is not chat_of(pilot))
        keys = pilot.app.screen.query_one("SheetKeys")
        await until(pilot, lambda: "Esc Close" in str(keys.render()))


def test_alt_enter_of_a_plain_terminal_is_one_key() -> None:
    keys = [e.key for e in PieceReader().events_of(Sequence("\x1b\r")) if isinstance(e, events.Key)]
    assert keys == ["alt+enter"]


def test_a_lone_esc_waits_long_only_where_a_sequence_may_be_cut() -> None:
    assert escape_delay({}) == ESCAPE_DELAY_S < 0.1
    assert escape_delay({"SSH_CONNECTION": "a 1 b 2"}) == escape_delay({"ESCDELAY": "100"}) >= 0.1
