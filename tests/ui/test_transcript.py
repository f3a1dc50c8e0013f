"""The transcript: long chats, the reader's place, what is selected, and the forget line."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.ui.chat_app import chat_app, chat_of, idle, running, say, talk, until
from tests.ui.painted import (
    dimmed,
    message_rows,
    messages_in_view,
    place_of,
    row_of,
    rows,
    shown,
    strips,
    words,
)
from tests.ui.replies import SIZE, ReplyApp
from tests.ui.textual_release import IS_8_1
from tui_chat.engine.contract.scripted import Script
from tui_chat.ui.app import TuiChat
from tui_chat.ui.transcript.transcript import Transcript

LONG = [f"Message **{number}** of a long chat." for number in range(10_000)]
PART = "Paragraph {} of a long reply.\n\n- one\n- two\n\n```\ncode\n```"
FORMS = (
    "**{0}**, in short.",
    "1. one of {0}\n2. two\n   - nested\n\n```\ncode of {0}\n```",
    "| {0} | value |\n|---|---|\n| a | 1 |",
    "## {0}\n\n> quoted words that go on and on, so that there is more than one line of them, "
    "whatever the width is\n\nand said.",
    "word " * 60,
)


def mixed(count: int) -> list[str]:
    """Messages of all sorts, whose heights nobody can guess."""
    return [
        FORMS[number // 2 % len(FORMS)].format(f"number {number}")
        if number % 2
        else "What of it? " * (number % 31 + 1)
        for number in range(count)
    ]


async def at_first(app: TuiChat, pilot: Pilot[Any]) -> Transcript:
    """Select the first message, and wait until it is in view."""
    transcript = app.chat.transcript
    await pilot.press("escape", "g")
    await until(pilot, lambda: transcript.selected == transcript.path[0].id)
    await until(pilot, lambda: transcript.scroll_y == 0)
    return transcript


async def test_ten_thousand_messages_open_at_their_end_at_once() -> None:
    app = chat_app(Script(context=10**6, reserve=256), talk(*LONG))
    began = time.monotonic()
    async with running(app, ready=False) as pilot:
        await until(pilot, lambda: row_of(app, "Message 9999 of a long chat.") is not None)
        assert time.monotonic() - began < 5.0
        assert app.chat.transcript.is_following
        await until(pilot, lambda: app.session.state == "ready")


@pytest.mark.parametrize("step", [1, 9, 28])
async def test_nothing_jumps_while_scrolling_up_through_what_nobody_has_measured(
    step: int,
) -> None:
    app = chat_app(Script(context=10**6), talk(*mixed(60)))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 0)
        before = rows(transcript)
        for _ in range(60):
            transcript.scroll_relative(y=-step)
            after = rows(transcript)
            at_top = transcript.scroll_y == 0
            assert at_top or after[step:] == before[:-step]
            before = after
        await pilot.pause()
        assert rows(transcript) == before, "nothing follows later"


async def test_nothing_jumps_while_scrolling_back_down() -> None:
    app = chat_app(Script(context=10**6), talk(*mixed(60)))
    async with running(app) as pilot:
        transcript = await at_first(app, pilot)
        before = rows(transcript)
        while transcript.scroll_y < transcript.max_scroll_y - 9:
            transcript.scroll_relative(y=9)
            after = rows(transcript)
            assert after[:-9] == before[9:]
            before = after
        transcript.scroll_relative(y=9)
        assert transcript.is_following


async def test_every_message_is_come_across_once_and_in_order() -> None:
    texts = [f"message number {number}" for number in range(200)]
    app = chat_app(Script(context=10**6), talk(*texts))
    async with running(app, (100, 20)) as pilot:
        transcript = await at_first(app, pilot)
        seen: list[str] = []
        while True:
            found = [row.split("message ")[1][:10] for row in rows(transcript) if "message" in row]
            seen += [row.strip() for row in found if row.strip() not in seen]
            if transcript.is_following:
                break
            transcript.scroll_relative(y=10)
        assert seen == [f"number {number}" for number in range(200)]


async def test_fast_scrolling_leaves_no_hole() -> None:
    app = chat_app(Script(context=10**6), talk(*LONG[:400]))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 0)
        for _ in range(60):
            transcript.scroll_relative(y=-5)
            await asyncio.sleep(0)
        indexes = list(messages_in_view(app))
        assert indexes == list(range(indexes[0], indexes[0] + len(indexes))) and indexes[0] < 380
        found = [" ".join(words(app, index)) for index in indexes[1:-1]]
        assert all(
            f"{n} of" in text or f"**{n}** of" in text
            for n, text in zip(indexes[1:], found, strict=False)
        )
        transcript.follow()
        transcript.scroll_relative(y=-1)
        await until(pilot, lambda: row_of(app, "Message 399 of") is not None)


async def test_the_scrollbar_says_how_much_there_is_and_takes_one_anywhere() -> None:
    app = chat_app(Script(context=10**6), talk(*LONG[:400]))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 400)
        bar = transcript.vertical_scrollbar
        assert bar.window_virtual_size == transcript.virtual_size.height > 800
        transcript.scroll_to(y=transcript.max_scroll_y // 2)
        await until(pilot, lambda: bar.position == transcript.scroll_offset.y > 0)
        middle = list(messages_in_view(app))
        assert 150 < middle[0] < 250


async def test_the_first_and_the_last_message_are_one_key_away() -> None:
    app = chat_app(Script(context=10**6), talk(*LONG[:400]))
    async with running(app) as pilot:
        transcript = await at_first(app, pilot)
        await until(pilot, lambda: "**0** of a long chat" in rows(transcript)[0])
        await pilot.press("G")
        await until(pilot, lambda: row_of(app, "Message 399 of") is not None)
        assert transcript.is_following


async def test_a_short_chat_begins_at_the_top() -> None:
    app = chat_app(conversation=talk("One", "Two"))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "One") == 0)
        assert row_of(app, "Two") == 2


@pytest.mark.parametrize("size", [(60, 20), (100, 40), (44, 30)])
async def test_the_place_is_kept_when_the_size_changes(size: tuple[int, int]) -> None:
    app = chat_app(Script(context=10**6), talk(*mixed(60)))
    async with running(app, (100, 30)) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 0)
        transcript.scroll_relative(y=-200)
        index = next(i for i, row in messages_in_view(app).items() if row > 0 and i % 2 == 0)
        transcript.scroll_relative(y=messages_in_view(app)[index])
        assert messages_in_view(app)[index] == 0
        before = transcript.size
        await pilot.resize_terminal(*size)
        await until(pilot, lambda: transcript.size != before)
        await until(pilot, lambda: next(iter(messages_in_view(app).items())) == (index, 0))
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: transcript.size == before)
        await until(pilot, lambda: next(iter(messages_in_view(app).items())) == (index, 0))


async def test_the_end_stays_in_view_when_the_size_changes() -> None:
    app = chat_app(Script(context=10**6), talk(*mixed(60), "Are we done?", "The very end."))
    async with running(app, (100, 30)) as pilot:
        transcript = app.chat.transcript
        for size in ((60, 20), (120, 50), (44, 16), (100, 30)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            await until(pilot, lambda: row_of(app, "The very end.") is not None)
            assert transcript.is_following


async def test_the_place_is_kept_when_the_theme_changes() -> None:
    app = chat_app(Script(context=10**6), talk(*mixed(60)))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.max_scroll_y > 0)
        transcript.scroll_relative(y=-100)
        before = rows(transcript)
        await app.run_command("theme", "paper")
        await until(pilot, lambda: app.theme == "paper")
        await pilot.pause()
        await until(pilot, lambda: rows(transcript) == before)


# Far away and long --------------------------------------------------------------------------------


async def test_what_was_out_of_view_comes_back_unchanged() -> None:
    long = "\n\n".join(PART.format(number) for number in range(40))
    app = chat_app(Script(context=10**6), talk("A?", long, "B?", long))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: row_of(app, "Paragraph 39 of") is not None)
        end = rows(transcript)
        transcript.scroll_to(y=0)
        start = rows(transcript)
        assert any("Paragraph 0 of a long reply." in row for row in start)
        transcript.scroll_to(y=transcript.max_scroll_y)
        assert rows(transcript) == end
        transcript.scroll_to(y=0)
        assert rows(transcript) == start


async def test_a_message_far_away_that_changes_is_shown_as_it_is_then() -> None:
    long = "\n\n".join(PART.format(number) for number in range(40))
    app = chat_app(Script(context=10**6), talk("A?", "short", "B?", long))
    async with running(app) as pilot:
        transcript = await at_first(app, pilot)
        assert "short" in shown(app)
        await pilot.press("G")
        await until(pilot, lambda: transcript.is_following)
        grown = replace(transcript.path[1], text=long)
        transcript.show([transcript.path[0], grown, *transcript.path[2:]])
        transcript.show_message(grown)
        transcript.scroll_to(y=0)
        assert "Paragraph 0 of a long reply." in shown(app)
        assert "Paragraph 1 of a long reply." in shown(app)


async def test_a_message_too_long_to_be_read_at_once_can_be_scrolled_through() -> None:
    long = "\n\n".join(f"Paragraph {number} of many." for number in range(20_000))
    app = chat_app(Script(context=10**7, reserve=256), talk("Go on", long))
    async with running(app, ready=False) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: row_of(app, "Paragraph 19999 of many.") is not None)
        await pilot.press("escape", "g")
        await until(pilot, lambda: row_of(app, "Paragraph 0 of many.") == 2)
        assert transcript.max_scroll_y > 39_900


async def test_messages_that_come_while_the_list_is_hidden_are_painted_with_it() -> None:
    app = ReplyApp("before")
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "before" in rows(app.list)[0])
        app.list.display = False
        await until(pilot, lambda: not app.list.region)
        app.list.set_path([replace(app.message, id="2", text="after")])
        app.list.display = True
        await until(pilot, lambda: any("after" in row for row in rows(app.list)))


# The selection and the mouse ----------------------------------------------------------------------


async def test_what_is_selected_has_a_bar_and_is_in_view() -> None:
    app = chat_app(Script(context=10**6), talk(*mixed(40)))
    async with running(app) as pilot:
        transcript = await at_first(app, pilot)
        for index in range(40):
            assert transcript.selected == transcript.path[index].id
            assert index in messages_in_view(app)
            barred = {row[0] for row in message_rows(app, index)[:1]}
            assert barred == {"▌"}
            others = [message_rows(app, i) for i in messages_in_view(app) if i != index]
            assert not any(row.startswith("▌") for found in others for row in found)
            await pilot.press("j")


async def test_a_click_selects_a_message() -> None:
    app = chat_app(conversation=talk("One here", "Two there", "Three", "Four"))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await until(pilot, lambda: row_of(app, "Two there") is not None)
        await pilot.click(Transcript, offset=place_of(app, "Two there"))
        await until(pilot, lambda: transcript.selected == transcript.path[1].id)
        assert transcript.has_focus
        assert message_rows(app, 1)[0].startswith("▌")


async def test_text_is_selected_over_rows_and_messages_and_copied_as_it_is_shown() -> None:
    reply = "Some **bold** words.\n\n- an item\n- another `one`\n\n```\ncode\n```\n\nThe end."
    app = chat_app(conversation=talk("A question", reply, "Thanks"))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "The end.") is not None)
        (left, top), (right, bottom) = place_of(app, "question"), place_of(app, "end.")
        await pilot.mouse_down(Transcript, offset=(left, top))
        last = right + 3 if IS_8_1 else right + 2  # 8.1 leaves out what is under the pointer
        await pilot.hover(Transcript, offset=(last, bottom))
        await pilot.mouse_up(Transcript, offset=(last, bottom))
        await until(pilot, lambda: app.screen.get_selected_text())
        assert app.screen.get_selected_text() == (
            "question\n\nSome bold words.\n\n• an item\n• another one\n\ncode\n\nThe end"
        )


async def test_tabs_of_code_are_copied_as_tabs() -> None:
    app = chat_app(conversation=talk("Q", "```\nif x:\n\ta\tb\n\t\tc\n```"))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "if x:") is not None)
        await pilot.click(Transcript, offset=place_of(app, "if x:"), times=2)
        await until(pilot, lambda: app.screen.get_selected_text() == "if x:\n\ta\tb\n\t\tc")


async def test_what_can_be_clicked_stands_out_under_the_pointer() -> None:
    app = chat_app(conversation=talk("Q", "A [page](https://e.org/) here.\n\n```py\nx\n```"))

    def standing_out() -> str:
        segments = [segment for strip in strips(app.chat.transcript) for segment in strip]
        return "".join(s.text for s in segments if s.style is not None and s.style.reverse)

    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "page") is not None)
        for word, found in (("page", "page"), ("here", ""), ("⧉", "py  1 ⧉"), ("Q", "")):
            await pilot.hover(Transcript, offset=place_of(app, word))
            await until(pilot, lambda found=found: standing_out() == found)
        await pilot.hover(Transcript, offset=place_of(app, "page"))
        await until(pilot, lambda: standing_out() == "page")
        await pilot.hover("#prompt")
        await until(pilot, lambda: standing_out() == "")


async def test_two_clicks_select_a_block() -> None:
    app = chat_app(conversation=talk("Q", "First *block* here.\n\nSecond one."))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "Second one.") is not None)
        await pilot.click(Transcript, offset=place_of(app, "block"), times=2)
        await until(pilot, lambda: app.screen.get_selected_text() == "First block here.")


async def test_three_clicks_select_a_message() -> None:
    app = chat_app(conversation=talk("Q", "First *block* here.\n\nSecond one.", "Thanks"))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "Thanks") is not None)
        await pilot.click(Transcript, offset=place_of(app, "block"), times=3)
        await pilot.pause()
        assert app.screen.get_selected_text() == "First block here.\n\nSecond one."


# What is written below ----------------------------------------------------------------------------


async def test_lines_written_below_are_counted_until_they_are_seen() -> None:
    story = Script(replies=["A line.\n\n" * 300], token_s=0.005)
    app = chat_app(story, talk(*(["Question?", "Answer.\n\n" * 10] * 4)))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await say(pilot, "Go")
        await until(pilot, lambda: app.session.state == "decoding")
        await pilot.press("pageup")
        before = rows(transcript)
        await until(pilot, lambda: transcript.unseen_lines > 3)
        assert rows(transcript) == before
        await idle(pilot)
        assert rows(transcript) == before
        count = transcript.unseen_lines
        assert count > 300
        while transcript.scroll_y < transcript.max_scroll_y - count:
            transcript.scroll_relative(y=5)
        transcript.scroll_relative(y=10)
        assert 0 < transcript.unseen_lines < count
        transcript.follow()
        assert transcript.unseen_lines == 0 and transcript.is_following


# The forget line ----------------------------------------------------------------------------------


def line_of(app: TuiChat) -> str:
    """The forget line, if it is in view."""
    return next((row for row in rows(app.chat.transcript) if "┄┄" in row), "").strip(" ┄")


async def test_the_forget_line_moves_with_the_draft() -> None:
    turns = ["one two three four five six seven eight nine ten"] * 12
    app = chat_app(Script(context=200, reserve=50), talk(*turns))
    async with running(app, (100, 50)) as pilot:
        await until(pilot, lambda: app.chat.counted is not None)
        assert not line_of(app) and not dimmed(app)
        chat_of(pilot).bar.prompt.insert("word " * 30)
        await until(pilot, lambda: line_of(app))
        counted = app.chat.counted
        assert counted is not None and counted.view.dropped_turns
        turns_said = line_of(app).split()[0]
        assert turns_said == str(counted.view.dropped_turns)
        row = row_of(app, "┄┄")
        assert row is not None
        kept = [m.id for m in app.chat.transcript.path].index(counted.view.first_kept_id or "")
        assert kept == counted.view.dropped_turns * 2
        assert messages_in_view(app)[kept] == row + 2
        is_dimmed = {index: bool(words(app, index)) for index in range(kept)}
        assert len(is_dimmed) == kept and len([t for t in dimmed(app) if t == turns[0]]) == kept
        values = app.chat.meter.values
        assert values is not None and values.overflow
        chat_of(pilot).bar.prompt.insert("word " * 60)
        await until(pilot, lambda: int(line_of(app).split()[0]) > int(turns_said))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not line_of(app))
        assert not dimmed(app)


async def test_the_forget_line_stands_last_when_nothing_old_is_sent() -> None:
    turns = ["one two three four five six seven eight nine ten"] * 4
    app = chat_app(Script(context=200, reserve=50), talk(*turns))
    async with running(app, (100, 40)) as pilot:
        chat_of(pilot).bar.prompt.insert("word " * 140)
        await until(pilot, lambda: line_of(app))
        counted = app.chat.counted
        assert counted is not None and counted.view.first_kept_id is None
        assert [row for row in rows(app.chat.transcript) if row][-1].strip().startswith("┄┄")


async def test_the_forget_line_moves_nothing_that_is_read_below_it() -> None:
    turns = ["one two three four five six seven eight nine ten"] * 40
    app = chat_app(Script(context=400, reserve=50), talk(*turns))
    async with running(app, (100, 24)) as pilot:
        await until(pilot, lambda: app.chat.counted is not None)
        assert app.chat.counted is not None
        dropped, transcript = app.chat.counted.view.dropped_turns, app.chat.transcript
        transcript.scroll_relative(y=-3)
        before = rows(transcript)
        assert dropped and not line_of(app)
        chat_of(pilot).bar.prompt.insert("a " * 40)
        await until(pilot, lambda: app.chat.counted.view.dropped_turns > dropped)
        await pilot.pause()
        assert rows(transcript) == before
        transcript.scroll_to(y=0)
        while not line_of(app):
            transcript.scroll_relative(y=5)
        assert line_of(app).startswith(f"{app.chat.counted.view.dropped_turns} turns above")


async def test_the_meter_shows_what_would_be_sent() -> None:
    app = chat_app(conversation=talk("one two three", "four five"))
    async with running(app) as pilot:
        chat_of(pilot).bar.prompt.insert("six seven")
        await until(pilot, lambda: app.chat.meter.values and app.chat.meter.values.draft)
        values = app.chat.meter.values
        view = app.session.context_view("six seven")
        assert values is not None
        assert (values.history, values.draft, values.free) == (view.history, view.draft, view.free)
        assert sum(values.parts) == values.context == 2048
