"""The best of several: columns that stream side by side, the choice, and leaving without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.ui import chat_app as chats
from tests.ui.chat_app import say, talk, until
from tests.ui.painted import rows, words
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.events import Failed
from tui_chat.engine.contract.scripted import Script
from tui_chat.ui.app import TuiChat
from tui_chat.ui.screens.best import BestScreen

REPLIES = ("The **first** way.", "Another way.", "A third way, with `code`.", "The last way.")
LONG = ("word " * 3000,)
SLOW = {"token_s": 0.01, "replies": LONG}


@asynccontextmanager
async def running(
    script: Script | None = None,
    size: tuple[int, int] = (120, 40),
    conversation: Conversation | None = None,
) -> AsyncIterator[tuple[TuiChat, Pilot[Any]]]:
    """The chat with a model that samples."""
    app = chats.chat_app(script or Script(replies=REPLIES), conversation=conversation)
    async with chats.running(app, size) as pilot:
        app.session.set_param("temperature", 0.8)
        yield app, pilot


async def opened(app: TuiChat, pilot: Pilot[Any]) -> BestScreen:
    await until(pilot, lambda: isinstance(app.screen, BestScreen) and app.screen.is_mounted)
    assert isinstance(app.screen, BestScreen)
    return app.screen


async def written(app: TuiChat, pilot: Pilot[Any]) -> BestScreen:
    """The screen once every candidate is finished and shown."""
    screen = await opened(app, pilot)
    await until(pilot, lambda: not app.session.is_busy and not screen.is_writing)
    session = app.session
    await until(
        pilot,
        lambda: all(c.message.text == session.message(c.message.id).text for c in screen._columns),
    )
    return screen


def shown(app: TuiChat) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


def told(app: TuiChat) -> str:
    return " ".join(n.message for n in app.toasts.present)


async def test_the_draft_is_answered_several_times_side_by_side() -> None:
    async with running() as (app, pilot):
        app.chat.bar.prompt.insert("How is it done?")
        await pilot.press("f6")
        await written(app, pilot)
        await until(pilot, lambda: "choose one" in shown(app))
        lines = shown(app)
        assert "Best of 4" in lines and "How is it done?" in lines
        row = next(line for line in lines.split("\n") if "The first way." in line)
        assert "Another way." in row and "A third way, with" in row and "last" in row
        heads = next(line for line in lines.split("\n") if "1 ✓ done" in line)
        assert all(f"{n} ✓ done" in heads for n in (1, 2, 3, 4)) and "3 tok" in heads
        await pilot.press("2")
        await until(pilot, lambda: app.screen is app.chat)
        assert app.session.messages()[-1].text == "Another way."
        assert len(app.session.conversation.details.preferences) == 1
        assert "Reply 2 of 4 is kept as the best. z takes it back." in told(app)
        await until(pilot, lambda: "2/4" in shown(app) and "Another way." in shown(app))
        assert app.chat.bar.prompt.has_focus and not app.chat.bar.draft
        await pilot.press("escape", "z")
        await until(pilot, lambda: app.session.messages()[-1].text == "The **first** way.")
        assert not app.session.conversation.details.preferences


async def test_the_slash_command_answers_the_last_message_again() -> None:
    async with running(conversation=talk("How?", "First.")) as (app, pilot):
        await say(pilot, "/best 2")
        screen = await written(app, pilot)
        assert len(screen._columns) == 2
        await pilot.press("right", "enter")
        await until(pilot, lambda: app.screen is app.chat)
        assert [m.text for m in app.session.messages()] == ["How?", "Another way."]
        assert app.session.versions(app.session.messages()[-1].id) == (3, 3)


async def test_esc_stops_what_runs_and_then_leaves_without_a_choice() -> None:
    async with running(Script(**SLOW)) as (app, pilot):
        app.chat.bar.prompt.insert("Go")
        await pilot.press("f6")
        screen = await opened(app, pilot)
        await until(pilot, lambda: all(c.message.text for c in screen._columns))
        await until(pilot, lambda: "Esc Stop all" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: not app.session.is_busy and not screen.is_writing)
        assert app.screen is screen, "the texts are still there to choose from"
        await until(pilot, lambda: "■ stopped" in shown(app) and "Esc Close" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        last = app.session.messages()[-1]
        assert app.session.versions(last.id) == (1, 4) and last.text
        assert not app.session.conversation.details.preferences
        assert "Nothing was chosen; all stay." in told(app)


async def test_one_is_stopped_while_the_others_go_on() -> None:
    async with running(Script(**SLOW)) as (app, pilot):
        app.chat.bar.prompt.insert("Go")
        await pilot.press("f6")
        screen = await opened(app, pilot)
        await until(pilot, lambda: all(c.message.text for c in screen._columns))
        await pilot.press("right", "s")
        await until(pilot, lambda: screen._columns[1].message.status == "stopped")
        size = len(screen._columns[0].message.text)
        await until(pilot, lambda: len(screen._columns[0].message.text) > size)
        await until(pilot, lambda: "Stop this" not in shown(app))
        await pilot.press("left")
        await until(pilot, lambda: "Stop this" in shown(app))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is app.chat or not screen.is_writing)


async def test_choosing_one_that_is_still_written_lets_it_go_on_in_the_chat() -> None:
    async with running(Script(**SLOW)) as (app, pilot):
        app.chat.bar.prompt.insert("Go")
        await pilot.press("f6")
        screen = await opened(app, pilot)
        await until(pilot, lambda: all(c.message.text for c in screen._columns))
        await pilot.press("3")
        await until(pilot, lambda: app.screen is app.chat)
        chosen = app.session.messages()[-1]
        assert app.session.versions(chosen.id) == (3, 4)
        await until(pilot, lambda: words(app, 1).count("word"))
        count = words(app, 1).count("word")
        await until(pilot, lambda: words(app, 1).count("word") > count)
        await pilot.press("escape")
        await chats.idle(pilot)


async def test_nothing_above_moves_while_they_are_written_and_keys_scroll_the_marked_one() -> None:
    lines = "\n\n".join(f"Line {n}." for n in range(120))
    async with running(Script(replies=(lines,), token_s=0.02), (80, 24)) as (app, pilot):
        app.chat.bar.prompt.insert("Go")
        await pilot.press("f6")
        screen = await opened(app, pilot)
        first, second = screen._columns[:2]
        await until(pilot, lambda: first.page.max_scroll_y > 40 and second.page.max_scroll_y > 40)
        assert first.page.scroll_y == second.page.scroll_y == 0
        await pilot.press("pagedown")
        await until(pilot, lambda: first.page.scroll_y > 5)
        there = first.page.scroll_y
        most = first.page.max_scroll_y
        await until(pilot, lambda: first.page.max_scroll_y > most)
        assert first.page.scroll_y == there and second.page.scroll_y == 0
        await pilot.press("right", "down", "down", "up")
        await until(pilot, lambda: second.page.scroll_y == 1)
        await pilot.press("left", "home")
        await until(pilot, lambda: first.page.scroll_y == 0)
        await pilot.press("end")
        await written(app, pilot)
        await until(pilot, lambda: "Line 119." in shown(app))
        assert first.page.scroll_y == first.page.max_scroll_y > most
        await pilot.press("home")
        await until(pilot, lambda: first.page.scroll_y == 0)


@pytest.mark.parametrize(
    ("size", "count", "columns"), [((120, 40), 4, 4), ((80, 24), 4, 2), ((40, 12), 8, 1)]
)
async def test_as_many_columns_as_fit(size: tuple[int, int], count: int, columns: int) -> None:
    async with running(size=size) as (app, pilot):
        app.chat.bar.prompt.insert("How?")
        await app.run_command("best", str(count))
        screen = await written(app, pilot)
        await until(pilot, lambda: screen.shown_count == columns)

        def visible() -> list[int]:
            return [c.number for c in screen._columns if c.display]

        await until(pilot, lambda: visible() == list(range(1, columns + 1)))
        assert screen.query_one("#all").display is (columns < count)
        if columns < count:
            gap = " " if columns > 1 else ""
            signs = [f" {n}{gap}✓" for n in range(1, count + 1)]
            await until(pilot, lambda: all(sign in shown(app) for sign in signs))
            for _ in range(columns):
                await pilot.press("right")
            await until(pilot, lambda: visible() == list(range(2, columns + 2)))
            await pilot.press("left")
            await until(pilot, lambda: screen.current == columns - 1)
            assert columns in visible()
            await pilot.press(str(count))
            await until(pilot, lambda: app.screen is app.chat)
            assert app.session.versions(app.session.messages()[-1].id) == (count, count)


async def test_candidates_of_a_chat_that_was_left_are_not_shown() -> None:
    async with running() as (app, pilot):
        app.chat.bar.prompt.insert("How?")
        await pilot.press("f6")
        screen = await written(app, pilot)
        app.session.new_chat()
        left = BestScreen(app.session, screen._candidates, "How?")
        app.push_screen(left)
        await until(pilot, lambda: not left.is_attached and left not in app.screen_stack)


async def test_a_click_marks_a_column() -> None:
    async with running() as (app, pilot):
        app.chat.bar.prompt.insert("How?")
        await pilot.press("f6")
        screen = await written(app, pilot)
        await pilot.click(screen._columns[2])
        await until(pilot, lambda: screen.current == 2)
        await pilot.press("9")  # there is no ninth
        assert app.screen is screen


async def test_markdown_links_and_code_of_a_candidate_are_as_in_the_chat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reply = "A [link](http://e.org/x) and:\n\n```\nthe code\n```\n\nThe end."
    async with running(Script(replies=(reply, reply))) as (app, pilot):
        copied: list[str] = []
        monkeypatch.setattr(BestScreen, "copy_text", lambda _, text: copied.append(text))
        app.chat.bar.prompt.insert("How?")
        await app.run_command("best", "2")
        screen = await written(app, pilot)
        page = screen._columns[1].page
        await until(pilot, lambda: "The end." in " ".join(rows(page)))
        lines = rows(page)
        row = next(n for n, line in enumerate(lines) if "the code" in line)
        left, top = page.gutter.top_left
        await pilot.click(page, offset=(left + lines[row].index("⧉"), top + row))
        await until(pilot, lambda: copied == ["the code"])
        await pilot.click(page, offset=(left + lines[0].index("link"), top))
        await until(pilot, lambda: app.screen is not screen)
        assert "http://e.org/x" in shown(app)


async def test_a_click_at_the_text_of_a_candidate_marks_it() -> None:
    async with running() as (app, pilot):
        app.chat.bar.prompt.insert("How?")
        await pilot.press("f6")
        screen = await written(app, pilot)
        page = screen._columns[2].page
        await until(pilot, lambda: "A third way" in rows(page)[0])
        await pilot.click(page, offset=(page.gutter.left + 3, page.gutter.top))
        await until(pilot, lambda: screen.current == 2)


async def test_candidates_that_fail_say_why_and_cannot_be_chosen() -> None:
    failed = Failed("oom", "The device ran out of memory", "Too much", "Choose 8bit (F4)")
    script = Script(replies=REPLIES, failures={0: (0, failed), 2: (2, failed)})
    async with running(script) as (app, pilot):
        app.chat.bar.prompt.insert("How?")
        await pilot.press("f6")
        screen = await written(app, pilot)
        await until(pilot, lambda: shown(app).count("✗ failed") == 2)
        assert "The device ran out of" in shown(app)
        await pilot.press("1")
        await until(pilot, lambda: "no text yet" in told(app))
        assert app.screen is screen
        await pilot.press("4")
        await until(pilot, lambda: app.screen is app.chat)
        assert app.session.messages()[-1].text == "The last way."


async def test_before_anything_is_written_esc_takes_the_message_back() -> None:
    async with running(Script(replies=REPLIES, prefill_s=30)) as (app, pilot):
        app.chat.bar.prompt.insert("How?")
        await pilot.press("f6")
        await opened(app, pilot)
        await until(pilot, lambda: "reading" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        assert not app.session.is_busy


# What is refused, and never lost


async def test_a_temperature_of_0_is_refused_and_the_draft_comes_back() -> None:
    app = chats.chat_app(Script(replies=REPLIES))
    async with chats.running(app) as pilot:  # the built-in model is greedy
        app.chat.bar.prompt.insert("How is it done?")
        await pilot.press("f6")
        await until(pilot, lambda: app.chat.notice.error is not None)
        assert "would be the same" in shown(app) and "F2" in shown(app)
        assert app.chat.bar.draft.full == "How is it done?"
        assert app.screen is app.chat and not app.session.messages()


@pytest.mark.parametrize("argument", ["many", "-3", "1", "9", "99999999999999999999", "²"])
async def test_what_is_no_number_of_candidates_is_refused(argument: str) -> None:
    async with running(conversation=talk("How?", "First.")) as (app, pilot):
        await say(pilot, f"/best {argument}")
        await until(pilot, lambda: app.toasts.present or app.chat.notice.error is not None)
        assert app.screen is app.chat and len(app.session.conversation) == 2


async def test_a_command_or_an_edit_is_not_sent_as_a_message() -> None:
    async with running(conversation=talk("How?", "First.")) as (app, pilot):
        app.chat.bar.prompt.insert("/help")
        await app.run_command("best")
        await until(pilot, lambda: "is a command" in told(app))
        app.chat.bar.clear()
        await pilot.press("escape", "g", "e")
        await until(pilot, lambda: app.chat.bar.editing is not None)
        await app.run_command("best")
        await until(pilot, lambda: "Finish the edit first" in told(app))
        assert len(app.session.conversation) == 2


async def test_letters_typed_just_before_the_key_are_part_of_the_message() -> None:
    async with running() as (app, pilot):
        await pilot.press(*"Hi there", "f6")
        await written(app, pilot)
        assert app.session.messages()[0].text == "Hi there"
