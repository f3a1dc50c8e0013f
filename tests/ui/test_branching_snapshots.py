"""How the tree, the ranking and the labels look, wide and narrow, dark and light."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.ui.branching import branched, long_chat
from tests.ui.pictures import Picture
from tests.ui.piece_app import until
from tests.ui.stage import Stage, session_for_tests
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
