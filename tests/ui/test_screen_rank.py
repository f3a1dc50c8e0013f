"""The rank screen: the order of the versions, all flawed, and what is kept."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.ui import chat_app as chats
from tests.ui.branching import add, branched
from tests.ui.piece_app import until
from tests.ui.stage import Stage, session_for_tests
from tui_chat.chat.conversation import Conversation, Message
from tui_chat.errors import ContextError
from tui_chat.session import ChatSession
from tui_chat.ui.screens.rank import RankScreen, ranking_of


def versions(session: ChatSession) -> list[Message]:
    """The three versions of the second reply, oldest first."""
    chat = session.conversation
    return chat.children(session.messages()[2].id)


async def opened(pilot: Pilot[None], app: Stage) -> RankScreen:
    if not len(app.session.conversation):
        app.session.open_chat(branched())
    chat = app.session.conversation
    screen = RankScreen(app.session, ranking_of(chat, app.session.messages()[3]))
    await app.show(screen, pilot)
    return screen


def shown_order(screen: RankScreen) -> list[str]:
    return [message.text.split()[0] for message in screen.choices.rows]


async def test_versions_are_moved_and_the_order_is_kept_as_one_step() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        assert shown_order(screen) == ["Press", "You", "There"]
        assert "And how do I undo that?" in app.shown()
        await pilot.press("shift+down")
        await until(pilot, lambda: shown_order(screen) == ["You", "Press", "There"])
        await pilot.press("down", "K", "K", "K")
        await until(pilot, lambda: shown_order(screen) == ["There", "You", "Press"])
        await pilot.press("shift+up", "J")
        await until(pilot, lambda: shown_order(screen) == ["You", "There", "Press"])
        await pilot.press("1", "enter")
        await until(pilot, lambda: app.results == [True])
        assert [m.marks.rank for m in versions(app.session)] == [2, 1, 0]
        assert [m.marks.rating for m in versions(app.session)] == [1, -1, 0], "all else stays"
        screen = await opened(pilot, app)
        assert shown_order(screen) == ["There", "You", "Press"]
        app.session.undo()
        assert [m.marks.rank for m in versions(app.session)] == [None, None, None]


async def test_all_flawed_takes_the_ranks_away() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app)
        await pilot.press("enter")
        await until(pilot, lambda: app.results == [True])
        await opened(pilot, app)
        await pilot.press("a")
        await until(pilot, lambda: "all 3 are flawed" in app.shown())
        await pilot.press("enter")
        await until(pilot, lambda: len(app.results) == 2)
        marks = [m.marks for m in versions(app.session)]
        assert [m.all_flawed for m in marks] == [True] * 3
        assert [m.rank for m in marks] == [None] * 3
        screen = await opened(pilot, app)
        assert screen.is_all_flawed
        await pilot.press("a", "enter")
        await until(pilot, lambda: len(app.results) == 3)
        assert [m.marks.all_flawed for m in versions(app.session)] == [False] * 3
        assert [m.marks.rank for m in versions(app.session)] == [0, 1, 2]


async def test_esc_leaves_everything_as_it_was() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app)
        await pilot.press("J", "a", "escape")
        await until(pilot, lambda: app.results == [None])
        assert not app.session.conversation.undo_label
        assert [m.marks.rank for m in versions(app.session)] == [None] * 3


async def test_the_text_of_the_highlighted_version_is_there_to_read() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(80, 20)) as pilot:
        app.session.open_chat(branched())
        chat = app.session.conversation
        add(chat, app.session.messages()[2].id, "\n".join(f"line {n}" for n in range(100)))
        await opened(pilot, app)
        await pilot.press("down", "down", "down")
        await until(pilot, lambda: "line 3" in app.shown())
        await pilot.press("pagedown", "pagedown")
        await until(pilot, lambda: "line 12" in app.shown())
        await pilot.press("pageup", "pageup", "up")
        await until(pilot, lambda: "2. Apply the preset again." in app.shown())


def test_what_ranking_a_message_means() -> None:
    chat = branched()
    path = chat.path()
    assert len(ranking_of(chat, path[3]).versions) == 3
    assert len(ranking_of(chat, path[2]).versions) == 3, "a prompt means its replies"
    assert ranking_of(chat, path[2]).prompt == "And how do I undo that?"
    with pytest.raises(ContextError):
        ranking_of(chat, path[1])
    other = add(chat, None, "Another beginning")
    ranking = ranking_of(chat, chat[other])
    assert len(ranking.versions) == 2 and not ranking.prompt


async def test_the_slash_command_ranks_the_last_reply() -> None:
    app = chats.chat_app(conversation=branched())
    async with chats.running(app) as pilot:
        await chats.say(pilot, "/rank")
        await chats.until(pilot, lambda: isinstance(app.screen, RankScreen))
        await pilot.press("J", "enter")
        await chats.until(pilot, lambda: app.screen is app.chat)
        last = app.session.messages()[-1]
        assert last.marks.rank == 0 and last.text == "Choose seed and type a number."
        await pilot.press("escape", "g", "o")
        await chats.until(
            pilot, lambda: any("nothing to rank" in n.message for n in app.toasts.present)
        )


async def test_there_is_nothing_to_rank_in_an_empty_chat() -> None:
    app = chats.chat_app(conversation=Conversation())
    async with chats.running(app) as pilot:
        for action_id in ("rank", "label"):
            await app.run_command(action_id)
        await chats.until(
            pilot, lambda: any("no message yet" in n.message for n in app.toasts.present)
        )
        assert app.screen is app.chat
