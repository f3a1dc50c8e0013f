"""The prompt: lines, history, pastes, commands, the editor and the ladder of Ctrl+C."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot

from tests.ui.chat_app import chat_app, chat_of, idle, running, say, talk, until
from tui_chat.engine.contract.scripted import Script
from tui_chat.ui.prompt.external_editor import edit_text

PASTE = "\n".join(f"line {number} [/b] of the paste" for number in range(212))


async def paste(pilot: Pilot[Any], text: str) -> None:
    """Paste as a terminal does."""
    chat_of(pilot).bar.prompt.post_message(events.Paste(text))
    await pilot.pause()


async def test_enter_sends_and_three_keys_make_a_line() -> None:
    app = chat_app()
    async with running(app) as pilot:
        await pilot.press("a", "ctrl+j", "b", "shift+enter", "c", "alt+enter", "d")
        await until(pilot, lambda: app.chat.bar.draft.text == "a\nb\nc\nd")
        await until(pilot, lambda: app.chat.bar.prompt.size.height == 4)
        await pilot.press("enter")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[0].text == "a\nb\nc\nd")


async def test_the_prompt_grows_to_eight_rows() -> None:
    app = chat_app()
    async with running(app) as pilot:
        chat_of(pilot).bar.prompt.insert("\n" * 20)
        await pilot.pause()
        assert app.chat.bar.prompt.size.height == 8


async def test_the_tokens_of_the_draft_are_counted_as_it_is_typed() -> None:
    app = chat_app()
    async with running(app) as pilot:
        await pilot.press(*"one two")
        await until(pilot, lambda: app.chat.bar.tokens == 2)
        await until(pilot, lambda: app.chat.meter.values and app.chat.meter.values.draft > 2)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app.chat.bar.tokens == 0)


async def test_history_walks_back_and_the_own_draft_is_at_the_end() -> None:
    app = chat_app(conversation=talk("From the chat", "Answer"))
    async with running(app) as pilot:
        await say(pilot, "First")
        await idle(pilot)
        await say(pilot, "Second\nof two lines")
        await idle(pilot)
        chat_of(pilot).bar.prompt.insert("mine")
        await pilot.press("up")
        await until(pilot, lambda: app.chat.bar.draft.text == "Second\nof two lines")
        await pilot.press("up")
        await until(pilot, lambda: app.chat.bar.draft.text == "First")
        await pilot.press("up")
        await until(pilot, lambda: app.chat.bar.draft.text == "From the chat")
        await pilot.press("up")
        await until(pilot, lambda: app.chat.bar.draft.text == "From the chat")
        await pilot.press("down", "down", "down", "down")
        await until(pilot, lambda: app.chat.bar.draft.text == "mine")


async def test_a_long_paste_is_one_token_and_is_sent_to_the_letter() -> None:
    app = chat_app(Script(context=4096))
    async with running(app) as pilot:
        await pilot.press(*"Look: ")
        await paste(pilot, PASTE.replace("\n", "\r"))
        draft = app.chat.bar.draft
        assert "line 100" not in draft.text
        assert "212\u00a0lines" in draft.text
        assert draft.full == f"Look: {PASTE}"
        await until(pilot, lambda: "tok]" in app.chat.bar.draft.text)
        await pilot.press(*"!")
        await until(pilot, lambda: app.chat.bar.draft.full == f"Look: {PASTE}!")
        await pilot.press("enter")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[0].text == f"Look: {PASTE}!")
        await pilot.press("up")
        await until(pilot, lambda: app.chat.bar.draft.full == f"Look: {PASTE}!")


async def test_the_cursor_passes_a_paste_in_one_step_and_backspace_removes_it() -> None:
    app = chat_app()
    async with running(app) as pilot:
        prompt = app.chat.bar.prompt
        await pilot.press("a")
        await paste(pilot, PASTE)
        await until(pilot, lambda: "tok]" in prompt.text)
        await pilot.press("b", "left", "left")
        await until(pilot, lambda: prompt.cursor_location == (0, 1))
        await pilot.press("right")
        await until(pilot, lambda: prompt.cursor_location == (0, len(prompt.text) - 1))
        await pilot.press("backspace")
        await until(pilot, lambda: app.chat.bar.draft.full == "ab")
        await pilot.press("ctrl+z")
        await until(pilot, lambda: app.chat.bar.draft.full == f"a{PASTE}b")
        prompt.move_cursor((0, 1))
        prompt.action_unfold()
        assert app.chat.bar.draft.text == f"a{PASTE}b"


async def test_two_equal_pastes_and_one_with_odd_line_breaks_stay_what_they_are() -> None:
    app = chat_app()
    odd = "one\x0btwo\u2028three"
    async with running(app) as pilot:
        await paste(pilot, PASTE)
        await paste(pilot, PASTE.upper())
        await paste(pilot, odd)
        await until(pilot, lambda: app.chat.bar.draft.text.count("tok]") == 3)
        assert app.chat.bar.draft.full == PASTE + PASTE.upper() + odd


async def test_a_short_paste_is_text() -> None:
    app = chat_app()
    async with running(app) as pilot:
        await paste(pilot, "two\r\nlines")
        await until(pilot, lambda: app.chat.bar.draft.text == "two\nlines")


@pytest.mark.parametrize(
    ("typed", "sent"),
    [("//theme is a word", "/theme is a word"), (" /x", " /x"), ("/a\nb", "/a\nb")],
)
async def test_a_message_may_begin_with_a_slash(typed: str, sent: str) -> None:
    app = chat_app()
    async with running(app) as pilot:
        await say(pilot, typed)
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[0].text == sent)
        await pilot.press("up")
        await until(pilot, lambda: app.chat.bar.draft.text == typed)


async def test_slash_commands_do_what_their_keys_do() -> None:
    app = chat_app(Script(replies=["Again"]), talk("Question", "Answer"))
    async with running(app, (120, 40)) as pilot:
        await say(pilot, "/set temperature=0.7")
        await until(pilot, lambda: app.session.params.temperature == 0.7)
        await say(pilot, "/preset greedy")
        await until(pilot, lambda: app.session.params.temperature == 0.0)
        await say(pilot, "/theme paper")
        await until(pilot, lambda: app.theme == "paper")
        await say(pilot, "/system Be brief.")
        await until(pilot, lambda: app.session.conversation.system == "Be brief.")
        await say(pilot, "/retry")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "Again")
        await say(pilot, "/precision fp16")
        await until(pilot, lambda: app.session.info and app.session.info.precision == "fp16")
        await say(pilot, "/new")
        await until(pilot, lambda: not app.session.messages())
        assert not app.chat.bar.draft
        await say(pilot, "/help")
        await until(pilot, lambda: type(app.screen).__name__ == "HelpScreen")


async def test_an_unknown_command_names_the_nearest_and_stays() -> None:
    app = chat_app()
    async with running(app) as pilot:
        await say(pilot, "/theem night")
        await until(pilot, lambda: app.chat.bar.draft.text == "/theem night")
        await until(pilot, lambda: any("/theme" in n.message for n in app.toasts.present))
        await pilot.press("ctrl+c")
        await say(pilot, "/set temperature=9")
        await until(pilot, lambda: any("out of range" in n.message for n in app.toasts.present))


async def test_completion_offers_commands_and_their_values() -> None:
    app = chat_app()
    async with running(app) as pilot:
        await pilot.press(*"/th")
        await until(pilot, lambda: app.chat.bar.is_completing)
        await pilot.press("tab")
        await until(pilot, lambda: app.chat.bar.draft.text == "/theme")
        await pilot.press(*" pap")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "paper")
        await pilot.press(*"/se", "down")
        await pilot.press("enter")
        await until(pilot, lambda: app.chat.bar.draft.text == "/set ")
        await pilot.press(*"temp")
        await pilot.press("tab")
        await until(pilot, lambda: app.chat.bar.draft.text == "/set temperature=")
        await pilot.press("escape", "ctrl+c", "slash", "escape")
        await until(pilot, lambda: not app.chat.bar.is_completing)
        await until(pilot, lambda: app.chat.bar.prompt.has_focus)


async def test_ctrl_c_clears_then_stops_then_quits() -> None:
    app = chat_app(Script(replies=["word " * 5000], token_s=0.02))
    async with running(app) as pilot:
        await say(pilot, "Go")
        await until(pilot, lambda: app.session.state == "decoding")
        await pilot.press(*"draft")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.chat.bar.draft)
        await until(pilot, lambda: app.session.is_busy)
        await pilot.press("ctrl+z")
        await until(pilot, lambda: app.chat.bar.draft.text == "draft")
        await pilot.press("ctrl+c", "ctrl+c")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].status == "stopped")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app.is_running)
        await until(pilot, lambda: any("again to quit" in n.message for n in app.toasts.present))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app.return_value == 0)
        assert app.engine_ended


def editor(path: Path, body: str) -> str:
    """A program that acts as an editor."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


class Suspended:
    """Stands for a terminal that can be left, which a headless one cannot."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


async def test_the_editor_gets_the_whole_draft_and_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    command = editor(tmp_path / "ed", f'cp "$1" {seen}; printf "changed\\n" >> "$1"')
    monkeypatch.setenv("VISUAL", command)
    app = chat_app()
    monkeypatch.setattr(app, "suspend", Suspended)
    async with running(app) as pilot:
        await paste(pilot, PASTE)
        await pilot.press("ctrl+g")
        # editors expect a line break at the end
        await until(pilot, lambda: seen.exists() and seen.read_text() == f"{PASTE}\n")
        await until(pilot, lambda: app.chat.bar.draft.full == f"{PASTE}\nchanged")
        monkeypatch.setenv("VISUAL", "no-such-editor-here")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: any("not installed" in n.message for n in app.toasts.present))
        await until(pilot, lambda: app.chat.bar.draft.full == f"{PASTE}\nchanged")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r")))
@settings(max_examples=20, deadline=None)
def test_an_editor_that_only_looks_changes_nothing(text: str) -> None:
    assert edit_text(text, ["true"]) == text


@pytest.mark.parametrize(
    ("draft", "body", "after"),
    [("a", 'printf "b\\n" > "$1"', "b"), ("a", 'printf b > "$1"', "b"), ("", 'echo b > "$1"', "b"),
     ("a", 'printf "b\\r\\n" > "$1"', "b"), ("a\n", 'cat "$1" > /dev/null', "a\n"),
     ("a", 'printf "b\\n\\n" > "$1"', "b\n"), ("a", ': > "$1"', "")],
)  # fmt: skip
def test_the_line_break_at_the_end_of_the_file_is_not_part_of_the_draft(
    tmp_path: Path, draft: str, body: str, after: str
) -> None:
    assert edit_text(draft, [editor(tmp_path / "ed", body)]) == after


async def test_joiners_are_typed_like_any_character() -> None:
    app = chat_app()
    async with running(app) as pilot:
        for character in "👩\u200d👧\u200c!":
            app.post_message(events.Key("a key", character))
        await until(pilot, lambda: app.chat.bar.draft.text == "👩\u200d👧\u200c!")


async def test_keys_can_be_remapped_and_switched_off() -> None:
    app = chat_app(keys={"newline": ("ctrl+o",), "open": (), "history_previous": ("ctrl+up",)})
    async with running(app) as pilot:
        await pilot.press("a", "ctrl+o", "b")
        await until(pilot, lambda: app.chat.bar.draft.text == "a\nb")
        await pilot.press("up", "c")
        await until(pilot, lambda: app.chat.bar.draft.text == "ac\nb")


async def test_a_drag_ends_where_the_release_of_the_button_is_lost() -> None:
    app = chat_app()
    async with running(app) as pilot:
        prompt = app.chat.bar.prompt
        prompt.insert("one two three")
        moved = events.MouseMove(None, 9, 3, 0, 0, 0, False, False, False, 9, 3)
        for lose in (lambda: app.post_message(moved), lambda: app.capture_mouse(None)):
            await pilot.mouse_down(prompt, offset=(1, 0))
            await until(pilot, lambda: app.mouse_captured is prompt)
            lose()
            await until(pilot, lambda: app.mouse_captured is None)
            await pilot.pause()
            before = prompt.selection
            for x in (4, 8):
                await pilot.hover(prompt, offset=(x, 0))
            assert prompt.selection == before
            await pilot.mouse_up(prompt, offset=(8, 0))
