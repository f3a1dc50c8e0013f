"""The prompt inspector: exactly the ids that would be sent, and what would not be."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.ui.piece_app import until
from tests.ui.stage import HOSTILE, Stage, loaded, session_for_tests
from tui_chat.session import ChatSession
from tui_chat.ui.screens.inspector import InspectorScreen, inspect, inspection_lines


async def said(pilot: Pilot[None], session: ChatSession, *texts: str) -> None:
    for text in texts:
        session.send(text)
        await until(pilot, lambda: not session.is_busy)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_texts_stand_above_their_ids(size: tuple[int, int]) -> None:
    session = session_for_tests(system="Be kind.")
    app = Stage(session=session)
    async with app.run_test(size=size) as pilot:
        await loaded(pilot, session)
        await said(pilot, session, "What is a token?")
        await app.show(InspectorScreen(session), pilot)
        await until(pilot, lambda: "<|system|>" in app.shown())
        assert f"{len(session.prompt().ids)} of 2 048 tokens" in app.shown()
    session.close()


async def test_the_lines_hold_every_id_in_order() -> None:
    session = session_for_tests(system="Be kind.")
    app = Stage(session=session)
    async with app.run_test() as pilot:
        await loaded(pilot, session)
        await said(pilot, session, "one two three", f"four {HOSTILE}")
        prompt, encoder = session.prompt(), session.encoder
        assert encoder is not None
        shown = inspect(prompt, encoder)
        assert tuple(c.token_id for b in shown.blocks for c in b.tokens) == prompt.ids
        assert [b.role for b in shown.blocks][-1] == "next reply"
        special = [c.text for b in shown.blocks for c in b.tokens if c.is_special]
        assert special[0] == "<|system|>" and "<|endoftext|>" in special
        for width in (20, 40, 100):
            lines = inspection_lines(shown, width)
            assert all(line.cell_length <= width for line in lines)
        text = "".join(line.plain for line in lines)
        assert not set("\x1b\x07\u202e") & set(text)
    session.close()


async def test_what_is_not_sent_is_said() -> None:
    session = session_for_tests()
    app = Stage(session=session)
    async with app.run_test(size=(100, 30)) as pilot:
        await loaded(pilot, session)
        await said(pilot, session, *(f"{'word ' * 300}{n}" for n in range(8)))
        await app.show(InspectorScreen(session), pilot)
        await until(pilot, lambda: "not sent" in app.shown())
        dropped = session.prompt().dropped_turns
        assert dropped and f"{dropped} turns above" in app.shown()
    session.close()


async def test_without_a_model_it_says_to_wait() -> None:
    session = session_for_tests()
    app = Stage(session=session)
    async with app.run_test() as pilot:
        await app.show(InspectorScreen(session), pilot)
        await until(pilot, lambda: "The model is not loaded yet" in app.shown())
        await pilot.press("y", "escape")
        await until(pilot, lambda: app.results == [None])
    session.close()


async def test_copying_the_ids_says_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_for_tests()
    app = Stage(session=session)
    copied: list[str] = []
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await loaded(pilot, session)
        await said(pilot, session, "hello")
        screen = InspectorScreen(session)
        monkeypatch.setattr(screen, "copy_text", copied.append)
        await app.show(screen, pilot)
        await until(pilot, lambda: "Copy ids" in app.shown())
        await pilot.press("y")
        await until(pilot, lambda: copied)
        assert copied == [" ".join(map(str, session.prompt().ids))]
    session.close()
