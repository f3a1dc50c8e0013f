"""The tree screen: moving, folding, going somewhere, naming, pruning."""

from __future__ import annotations

from textual.pilot import Pilot

from tests.ui import chat_app as chats
from tests.ui.branching import branched, long_chat
from tests.ui.painted import rows
from tests.ui.piece_app import until
from tests.ui.stage import Stage, session_for_tests
from tui_chat.chat.conversation import Conversation
from tui_chat.engine.contract.scripted import Script
from tui_chat.ui.screens.dialogs import InputScreen
from tui_chat.ui.screens.tree import TreeScreen
from tui_chat.ui.transcript.message_list import MessageList


async def opened(pilot: Pilot[None], app: Stage, chat: Conversation) -> TreeScreen:
    app.session.open_chat(chat)
    screen = TreeScreen(app.session)
    await app.show(screen, pilot)
    return screen


def text_of(screen: TreeScreen) -> str:
    row = screen.choices.row
    return row.message.text if row is not None else ""


async def test_every_node_says_what_it_is() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app, branched())
        shown = app.shown()
        for text in ("[short] Press Backspace", "[two ways] There are", "20 tok", "guide",
                     "oasst-sft-4-p…", "11 messages, 6 in the chat now"):  # fmt: skip
            assert text in shown
        assert text_of(screen) == "Choose seed and type a number.", "it begins at the end"
        assert "\x1b" not in shown and "\u202e" not in shown


async def test_the_highlighted_message_is_shown_below_the_tree() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app, branched())
        preview = screen.query_one("#preview", MessageList)
        await until(pilot, lambda: "Choose seed and type a number." in rows(preview)[0])
        await pilot.press("end", "up", "up")
        await until(pilot, lambda: text_of(screen).startswith("There are two ways"))
        await until(
            pilot,
            lambda: [row.strip() for row in rows(preview)] == [
                "There are two ways.", "", "1. Backspace on the value.",
                "2. Apply the preset again.",
            ],
        )  # fmt: skip
        assert not set("\x1b\u202e") & set(app.shown())


async def test_enter_goes_to_a_message() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, branched())
        await pilot.press("end", "up", "up")
        await until(pilot, lambda: text_of(screen).startswith("There are two ways"))
        third = screen.choices.row.message.id
        await pilot.press("enter")
        await until(pilot, lambda: app.results == [third])
        assert third in [m.id for m in app.session.messages()]
        app.session.undo()
        assert app.session.messages()[-1].text == "Choose seed and type a number."


async def test_a_message_of_the_path_is_gone_to_without_a_change() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app, branched())
        before = app.session.messages()
        await pilot.press("home", "enter")
        await until(pilot, lambda: app.results == [before[0].id])
        assert app.session.messages() == before and not app.session.conversation.undo_label


async def test_folding_by_keys() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, branched())
        await pilot.press("left")
        await until(pilot, lambda: text_of(screen).startswith("Thanks!"))
        await pilot.press("left")
        await until(pilot, lambda: len(screen.choices.rows) == 9)
        assert "2 more" in app.shown() and "11 messages" in app.shown()
        await pilot.press("right")
        await until(pilot, lambda: len(screen.choices.rows) == 11)
        await pilot.press("right")
        await until(pilot, lambda: text_of(screen).startswith("The seed is"))
        await pilot.press("g", "space")
        await until(pilot, lambda: len(screen.choices.rows) == 1)
        await pilot.press("space", "n")
        await until(pilot, lambda: text_of(screen) == "And how do I undo that?")
        await pilot.press("tab")
        await until(pilot, lambda: text_of(screen).startswith("Thanks!"))
        await pilot.press("N")
        await until(pilot, lambda: text_of(screen) == "And how do I undo that?")


async def test_a_branch_is_named() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, branched())
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, InputScreen))
        await pilot.press(*"the seed", "enter")
        await until(pilot, lambda: app.screen is screen)
        await until(pilot, lambda: "[the seed] Choose seed" in app.shown())
        await pilot.press("z")
        await until(pilot, lambda: "[the seed]" not in app.shown())


async def test_pruning_is_undone_where_it_was() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, branched())
        end = app.session.conversation.leaf_id
        await pilot.press("end", "up", "up", "delete")
        await until(pilot, lambda: len(screen.choices.rows) == 8)
        assert "3 messages are removed" in app.shown()
        assert app.session.conversation.leaf_id == end, "the chat is on another branch"
        await pilot.press("z")
        await until(pilot, lambda: len(screen.choices.rows) == 11)
        await until(pilot, lambda: text_of(screen).startswith("There are two ways"))
        await pilot.press("Z")
        await until(pilot, lambda: len(screen.choices.rows) == 8)
        await pilot.press("g", "p")
        await until(pilot, lambda: "No message is left." in app.shown())
        await pilot.press("z")
        await until(pilot, lambda: len(screen.choices.rows) == 8)


async def test_an_empty_chat_says_so() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(40, 12)) as pilot:
        await opened(pilot, app, Conversation())
        assert "no message yet" in app.shown()
        await pilot.press("enter", "b", "delete", "left", "n", "escape")
        await until(pilot, lambda: app.results == [None])


async def test_forks_without_end_stay_in_view() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(60, 20)) as pilot:
        screen = await opened(pilot, app, long_chat(600, 3))
        assert text_of(screen)[:20] in app.shown()
        await pilot.press("home")
        await until(pilot, lambda: "Message number 0" in app.shown())
        for _ in range(12):
            await pilot.press("n")
            await until(pilot, lambda: text_of(screen)[:18] in app.shown())


async def test_ten_thousand_messages_are_rows_of_which_those_in_view_are_drawn() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app, long_chat(10_000, 50))
        assert len(screen.choices.rows) == 10_000
        await until(pilot, lambda: "number 9999" in app.shown())
        await pilot.press("home", "pagedown")
        await until(pilot, lambda: "10 000 messages" in app.shown())


async def test_the_chat_shows_and_selects_where_one_has_gone() -> None:
    app = chats.chat_app(conversation=branched())
    async with chats.running(app) as pilot:
        await pilot.press("ctrl+t")
        await chats.until(pilot, lambda: isinstance(app.screen, TreeScreen))
        await pilot.press("end", "up", "enter")
        await chats.until(pilot, lambda: app.screen is app.chat)
        path = app.session.messages
        await chats.until(pilot, lambda: path()[-1].text.startswith("はい"))
        await chats.until(pilot, lambda: app.chat.transcript.selected == path()[-2].id)
        await chats.until(pilot, lambda: app.chat.transcript.has_focus)
        await pilot.press("ctrl+t")
        await chats.until(pilot, lambda: isinstance(app.screen, TreeScreen))
        await pilot.press("ctrl+t")
        await chats.until(pilot, lambda: app.screen is app.chat)


async def test_nothing_is_gone_to_while_a_reply_is_written() -> None:
    script = Script(replies=["word " * 5000], token_s=0.02)
    app = chats.chat_app(script, branched())
    async with chats.running(app) as pilot:
        await chats.say(pilot, "Go on")
        await chats.until(pilot, lambda: app.session.state == "decoding")
        await app.run_command("tree")
        await chats.until(pilot, lambda: isinstance(app.screen, TreeScreen))
        await pilot.press("end", "enter", "delete")
        await chats.until(
            pilot, lambda: any("still being written" in n.message for n in app.toasts.present)
        )
        assert isinstance(app.screen, TreeScreen)
        await pilot.press("escape")
        await chats.until(pilot, lambda: app.screen is app.chat)
        await app.run_command("stop")
        await chats.idle(pilot)
