"""How the tree, the ranking, the labels and the best of several look: wide and narrow."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.ui import chat_app as chats
from tests.ui.branching import branched, long_chat
from tests.ui.pictures import Picture
from tests.ui.piece_app import until
from tests.ui.stage import HOSTILE, Stage, session_for_tests
from tui_chat.chat.events import Failed
from tui_chat.engine.contract.scripted import Script
from tui_chat.safe_text import safe_text
from tui_chat.ui.screens.best import BestScreen
from tui_chat.ui.screens.label import LabelScreen, messages_to_label
from tui_chat.ui.screens.rank import RankScreen, ranking_of
from tui_chat.ui.screens.tree import TreeScreen

LOOKS = [("night", (120, 40)), ("paper", (80, 24)), ("night", (40, 12))]


@pytest.mark.parametrize(("theme", "size"), LOOKS)
@pytest.mark.parametrize("name", ["tree", "forks", "rank", "label"])
def test_look(name: str, theme: str, size: tuple[int, int], picture: Picture) -> None:
    session = session_for_tests()
    chat = long_chat(200, 4) if name == "forks" else branched()
    session.open_chat(chat)
    reply = session.messages()[3]
    app = Stage(theme, session)

    async def act(pilot: Pilot[None]) -> None:
        if name in ("tree", "forks"):
            await app.show(TreeScreen(session), pilot)
        elif name == "rank":
            await app.show(RankScreen(session, ranking_of(chat, reply)), pilot)
            await pilot.press("J")
        else:
            await app.show(LabelScreen(session, messages_to_label(chat, reply), reply.id), pilot)
            await pilot.press("n", "y", "n")
        await until(pilot, lambda: "Esc Close" in app.shown())
        app.screen.refresh()

    assert picture(app, size, act)


WAYS = (
    "Lower the temperature: press **F2**, choose *temperature*, and step left.\n\n"
    "- `/set temperature=0` does the same\n- so does the preset `greedy`",
    "There are two ways.\n\n1. Press F2 and step left.\n2. Type a command:\n\n"
    "```\n/set temperature=0.2\n```\n\nBoth act from the next token on, also in a reply that is "
    "being written at the moment, so it costs nothing to try it. " * 2,
    f"漢字でも書けます。{HOSTILE} " * 4,
    "You can not.",
)
OOM = Failed("oom", "The device ran out of memory", "It needs 2.1 GiB", "Choose 8bit (F4)")


@pytest.mark.parametrize(("theme", "size"), [*LOOKS, ("paper", (120, 40)), ("paper", (40, 12))])
@pytest.mark.parametrize("state", ["writing", "written", "stopped", "failed"])
def test_best_of_several(state: str, theme: str, size: tuple[int, int], picture: Picture) -> None:
    """Being written; all written; all stopped, the second one marked; one of six failed."""
    is_held = state in ("writing", "stopped")
    failures = {4: (0, OOM)} if state == "failed" else {}
    script = Script(replies=WAYS, failures=failures)
    app = chats.chat_app(script, theme=theme, clock=chats.STILL, is_held=is_held)

    async def act(pilot: Pilot[None]) -> None:
        await chats.until(pilot, lambda: app.session.state == "ready")
        app.session.set_param("temperature", 0.8)
        app.chat.bar.prompt.insert("How do I make the answers less random?")
        await app.run_command("best", "6" if state == "failed" else "4")
        await chats.until(pilot, lambda: isinstance(app.screen, BestScreen))
        screen = app.screen
        assert isinstance(screen, BestScreen)
        wanted = [safe_text(way) for way in WAYS]
        await chats.until(
            pilot, lambda: [safe_text(c.message.text) for c in screen._columns[:4]] == wanted
        )
        if state == "stopped":
            await pilot.press("right", "escape")
        if state == "failed":
            # the chat behind it says so, too, but when it has been read is a matter of luck
            await chats.until(pilot, lambda: app.chat.notice.error is not None)
            app.chat.notice.error = None
            await pilot.press("right", "right", "right", "right")
        if state != "writing":
            await chats.until(pilot, lambda: not app.session.is_busy and not screen.is_writing)
        app.clear_notifications()

    assert picture(app, size, act)
