"""Another branch in the widgets of the one before: everything of it is shown, and nothing moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.ui.chat_app import NOON, chat_app, chat_of, running, until
from tests.ui.test_finding import marked
from tests.ui.test_transcript import filled
from tui_chat.chat.conversation import Conversation, Message
from tui_chat.engine.scripted import Script
from tui_chat.ui.app import TuiChat
from tui_chat.ui.message_window import NEWEST
from tui_chat.ui.widgets import mounted_messages
from tui_chat.ui.widgets.forget_line import ForgetLine
from tui_chat.ui.widgets.message_view import kind_of, view_of, views_by_place

FORMS = (
    "**{0}**, in short.",
    "1. one of {0}\n2. two\n   - nested\n\n```\ncode of {0}\n```",
    "| {0} | value |\n|---|---|\n| a | 1 |",
    "## {0}\n\n> quoted\n\nand said.",
)


def two_branches(count: int, shared: int = 0) -> Conversation:
    """A chat of two branches of `count` messages below some that they share; A is active."""
    chat, ends = Conversation(title="Two branches"), []
    for number in range(shared):
        chat.append("assistant" if number % 2 else "user", f"shared {number}")
    fork = chat.leaf_id
    for turn, branch in enumerate("AB"):
        chat.set_leaf(fork)
        for number in range(shared, shared + count):
            text = FORMS[(number // 2 + turn) % len(FORMS)] if number % 2 else "What of {0}?"
            role = "assistant" if number % 2 else "user"
            chat.append(role, text.format(f"{branch}{number}"))  # type: ignore[arg-type]
        ends.append(chat.leaf_id)
    chat.set_leaf(ends[0])
    return chat


async def flip(pilot: Pilot[Any], branch: str, place: int = 0) -> None:
    """Press the key that shows a branch, and wait until all of it that is mounted is shown."""
    transcript = chat_of(pilot).transcript
    await pilot.press("right" if branch == "B" else "left")
    await until(pilot, lambda: transcript.path[place].text == f"What of {branch}{place}?")
    await filled(pilot)


def shown(app: TuiChat) -> list[tuple[str, list[str]]]:
    """The mounted messages, and the texts that stand there for each."""
    return [
        (view.message.text, [str(part.visual) for part in view.text_parts])
        for view in app.chat.transcript.views
    ]


async def test_another_branch_is_shown_whole_in_the_same_widgets() -> None:
    async with running(chat_app(Script(context=10**6), two_branches(30))) as pilot:
        transcript = chat_of(pilot).transcript
        await pilot.press("escape", "g")
        await until(pilot, lambda: transcript.selected == transcript.path[0].id)
        await filled(pilot)
        views, a = transcript.views, shown(pilot.app)  # type: ignore[arg-type]
        await flip(pilot, "B")
        assert transcript.views == views
        assert transcript.selected == transcript.path[0].id
        assert transcript.scroll_y == 0
        b = shown(pilot.app)  # type: ignore[arg-type]
        await flip(pilot, "A")
        assert shown(pilot.app) == a  # type: ignore[arg-type]
    chat = two_branches(30)
    chat.flip(chat.path()[0].id, 1)
    app = chat_app(Script(context=10**6), chat)
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await pilot.press("escape", "g")
        await until(pilot, lambda: transcript.selected == transcript.path[0].id)
        await filled(pilot)
        await until(pilot, lambda: shown(app) == b)


async def test_what_is_above_the_fork_stays_where_it_is() -> None:
    app = chat_app(Script(context=10**6), two_branches(20, shared=8))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await pilot.press("escape", "g", *"jjjjjjjj")
        await until(pilot, lambda: transcript.selected == transcript.path[8].id)
        await filled(pilot)
        await pilot.pause()
        rows = [view.region.y for view in transcript.views[:9]]
        for branch in "BAB":
            await flip(pilot, branch, 8)
            await pilot.pause()
            assert transcript.selected == transcript.path[8].id
            assert [view.region.y for view in transcript.views[:9]] == rows


async def test_branches_of_other_lengths_and_roles_are_shown_whole() -> None:
    chat = Conversation()
    ends = []
    for roles in ("uauaua", "ua", "uuaau", ""):
        chat.set_leaf(None)
        chat.append("user", f"version {len(ends)}")
        for place, role in enumerate(roles):
            chat.append("user" if role == "u" else "assistant", f"{len(ends)}: **{place}**")
        ends.append(chat.leaf_id)
    app = chat_app(Script(context=10**6), chat)
    async with running(app) as pilot:
        transcript = app.chat.transcript
        for end in [*ends, *reversed(ends), ends[2], ends[0]]:
            chat.set_leaf(end)
            await transcript.show(chat.path())
            await filled(pilot)
            assert [view.message for view in transcript.views] == chat.path()
            children = [child for child in transcript.children if child in transcript.views]
            assert children == transcript.views
            for view in transcript.views:
                text = view.message.text
                is_reply = view.message.role == "assistant"
                assert [str(part.visual) for part in view.text_parts] == [
                    text.replace("*", "") if is_reply else text
                ]


async def test_what_is_dimmed_stays_so_until_the_other_branch_is_counted() -> None:
    app = chat_app(Script(context=220, reserve=50), two_branches(40))
    async with running(app, (100, 40)) as pilot:
        transcript = app.chat.transcript
        await pilot.press("escape", "g")
        await until(pilot, lambda: transcript.selected == transcript.path[0].id)
        await filled(pilot)
        await until(pilot, lambda: transcript.views[0].has_class("-forgotten"))
        other = app.session.conversation
        other.flip(other.path()[0].id, 1)
        await transcript.show(other.path())  # no count follows
        assert all(view.has_class("-forgotten") for view in transcript.views)
        await transcript.open(other.path())
        assert not any(view.has_class("-forgotten") for view in transcript.views)
        assert not app.chat.query(ForgetLine)


async def test_what_is_looked_for_is_marked_in_the_other_branch() -> None:
    app = chat_app(Script(context=10**6), two_branches(8))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await pilot.press("ctrl+f", *"what of b")
        await until(pilot, lambda: app.chat.query_one("#find-count"))
        await until(pilot, lambda: marked(app) == [])
        app.session.flip(transcript.path[0].id, 1)
        await until(pilot, lambda: marked(app) == ["What of B"] * 4)
        app.session.flip(transcript.path[0].id, -1)
        await until(pilot, lambda: transcript.path[0].text == "What of A0?")
        await filled(pilot)
        await until(pilot, lambda: marked(app) == [])
        await until(pilot, lambda: shown(app)[0] == ("What of A0?", ["What of A0?"]))


async def test_a_message_that_grows_before_it_is_shown_is_shown_as_it_is_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mounted_messages, "_AT_ONCE_S", 0.0)  # nothing out of sight is in time
    app = chat_app(Script(context=10**6), two_branches(30))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await pilot.press("escape", "g")
        await until(pilot, lambda: transcript.selected == transcript.path[0].id)
        await filled(pilot)
        app.session.conversation.flip(transcript.path[0].id, 1)
        await transcript.show(app.session.messages())
        assert "A19" in transcript.views[19].message.text
        grown = replace(transcript.path[19], text="It has **grown**.")
        transcript.show_message(grown)
        await until(pilot, lambda: shown(app)[19] == (grown.text, ["It has grown."]))


async def test_a_chat_that_is_opened_over_another_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mounted_messages, "_AT_ONCE_S", 0.0)  # nothing out of sight is in time
    app = chat_app(Script(context=10**6), two_branches(30))
    async with running(app) as pilot:
        await filled(pilot)
        other = two_branches(30)
        other.flip(other.path()[0].id, 1)
        app.session.open_chat(other)
        await until(pilot, lambda: app.chat.transcript.path[0].id == other.path()[0].id)
        await filled(pilot)
        await until(pilot, lambda: len(app.chat.transcript.views) == NEWEST)
        path = other.path()[-NEWEST:]
        assert [view.message.text for view in app.chat.transcript.views] == [m.text for m in path]
        await until(pilot, lambda: all("B" in "".join(texts) for _, texts in shown(app)))
        await go_and_give_up(app, pilot)


async def go_and_give_up(app: TuiChat, pilot: Pilot[Any]) -> None:
    """Go to the first message and give up waiting, as a search that is typed over does."""
    transcript = app.chat.transcript
    for index in (0, len(transcript.path) - 1, 3):
        going = asyncio.ensure_future(transcript.select(index))
        await asyncio.sleep(0)
        going.cancel()
        await filled(pilot)
    await transcript.select(0)
    await filled(pilot)
    window = transcript.window
    path = transcript.path[window.first : window.last]
    assert [view.message.text for view in transcript.views] == [m.text for m in path]
    await until(pilot, lambda: all("B" in "".join(texts) for _, texts in shown(app)))


def messages(kinds: str, first: int) -> list[Message]:
    return [
        Message(f"{number:032x}", None, "user" if kind == "u" else "assistant", "", NOON)
        for number, kind in enumerate(kinds, first)
    ]


KINDS = st.text("ua", max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(KINDS, KINDS, st.text("ua", max_size=2)), max_size=4))
def test_views_are_given_to_messages_in_their_places(parts: list[tuple[str, str, str]]) -> None:
    old: list[Message] = []
    new: list[Message] = []
    for number, (gone, come, kept) in enumerate(parts):
        first = number * 100
        both = messages(kept, first + 50)
        old += [*messages(gone, first), *both]
        new += [*messages(come, first + 20), *both]
    views = [view_of(message, (1, 1), NOON) for message in old]
    given_to = views_by_place(views, new)
    assert given_to.keys() <= {message.id for message in new} - {message.id for message in old}
    by_id = {message.id: message for message in new}
    assert all(isinstance(view, kind_of(by_id[key])) for key, view in given_to.items())
    of = {view: key for key, view in given_to.items()}
    ids = [of.get(view, view.message.id) for view in views]
    order = [message.id for message in new]
    assert [key for key in ids if key in by_id] == [key for key in order if key in ids]
