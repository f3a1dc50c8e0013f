"""Make every picture of the documentation from the real program with the built-in model.

    make docs
    python -m scripts.make_pictures [SCENE...]

Each picture is one scene in one dark and one light theme, written as SVG to docs/pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.registry import load_registry
from tui_chat.engine.local import LocalBackend
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.storage.saving.writer import TranscriptWriter
from tui_chat.ui.app import TuiChat, UiSettings

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
THEMES = {"dark": "night", "light": "paper"}
SIZE = (100, 30)
Scene = Callable[[TuiChat, Pilot[int]], Awaitable[None]]


async def until(pilot: Pilot[int], predicate: Callable[[], object], limit: float = 120.0) -> None:
    """Let the program run until the predicate holds."""
    end = time.monotonic() + limit
    while not predicate():
        if time.monotonic() > end:
            raise TimeoutError("the scene never came about")
        await pilot.pause(0.05)


async def ask(app: TuiChat, pilot: Pilot[int], question: str) -> None:
    """Type a question, send it, and wait for the whole answer."""
    for character in question:
        await pilot.press({" ": "space", "?": "question_mark"}.get(character, character))
    before = len(app.session.messages())
    await pilot.press("enter")
    await until(pilot, lambda: len(app.session.messages()) > before and not app.session.is_busy)
    await pilot.pause(0.3)


async def talking(app: TuiChat, pilot: Pilot[int]) -> None:
    """A short conversation, and a draft."""
    await ask(app, pilot, "How do I make the answers less random?")
    await ask(app, pilot, "How can I copy only a code block?")
    for character in "What is the forget line":
        await pilot.press({" ": "space"}.get(character, character))
    await pilot.pause(0.3)


async def parameters(app: TuiChat, pilot: Pilot[int]) -> None:
    """The parameters beside the text."""
    await ask(app, pilot, "What does temperature do?")
    await pilot.press("f2")
    await pilot.pause(0.3)


async def precision(app: TuiChat, pilot: Pilot[int]) -> None:
    """What each precision needs."""
    await pilot.press("f4")
    await pilot.pause(1.5)


async def branching(app: TuiChat, pilot: Pilot[int]) -> None:
    """A chat with several versions of a reply, one of them named, as a tree."""
    await ask(app, pilot, "How do I make the answers less random?")
    await ask(app, pilot, "How can I copy only a code block?")
    second = app.session.regenerate()
    await until(pilot, lambda: not app.session.is_busy)
    await ask(app, pilot, "What does temperature do?")
    app.session.regenerate()
    await until(pilot, lambda: not app.session.is_busy)
    await ask(app, pilot, "What is the forget line?")
    path = app.session.messages()
    app.session.rate(path[1].id, 1)
    app.session.rate(path[3].id, -1)
    app.session.name_branch(second.id, "second try")
    await pilot.pause(0.5)
    await pilot.press("ctrl+t")
    await pilot.pause(0.5)


async def labelling(app: TuiChat, pilot: Pilot[int]) -> None:
    """The label form, half filled in."""
    await ask(app, pilot, "How do I make the answers less random?")
    await app.run_command("label")
    await pilot.pause(0.3)
    await pilot.press("N", "4", "1", "1", "5")
    await pilot.pause(0.3)


async def ranking(app: TuiChat, pilot: Pilot[int]) -> None:
    """Three versions of a reply, two of them written by hand, put in order."""
    await ask(app, pilot, "How do I make the answers less random?")
    reply = app.session.messages()[1].id
    app.session.edit(reply, "Press `F2`, choose temperature and step left.")
    app.session.edit(reply, "You can not.")
    await app.run_command("rank")
    await pilot.pause(0.5)
    await pilot.press("K")
    await pilot.pause(0.3)


async def noting(app: TuiChat, pilot: Pilot[int]) -> None:
    """A note in place of two turns, put right by hand: the built-in model can't sum up."""
    await ask(app, pilot, "What does temperature do?")
    await ask(app, pilot, "How can I copy only a code block?")
    await ask(app, pilot, "What is the forget line?")
    await app.run_command("compact", "1")
    await until(pilot, lambda: not app.session.is_busy)
    note = next(message for message in app.session.messages() if message.is_note)
    app.session.edit(
        note.id, "Temperature is known: 0 is greedy. `u`, then `y` copies a code block."
    )
    await until(pilot, lambda: not app._notifications)
    await app.chat.go_to(note.id, takes_focus=False)
    await pilot.pause(0.5)


async def searching(app: TuiChat, pilot: Pilot[int]) -> None:
    """Three chats, and a word that stands in several messages of them."""
    for questions in (
        ("What does temperature do?", "How do I make the answers less random?"),
        ("What is the forget line?",),
        ("How can I copy only a code block?",),
    ):
        await app.run_command("new")
        for question in questions:
            await ask(app, pilot, question)
    await app.run_command("search", "temperature ")
    await pilot.pause(1.0)


async def finding(app: TuiChat, pilot: Pilot[int]) -> None:
    """A word of the open chat, with its places marked."""
    await ask(app, pilot, "What does temperature do?")
    await ask(app, pilot, "How do I make the answers less random?")
    await pilot.press("ctrl+f", *"temperature", "enter")
    await pilot.pause(0.5)


SCENES: dict[str, Scene] = {
    "chat": talking,
    "parameters": parameters,
    "precision": precision,
    "tree": branching,
    "labels": labelling,
    "rank": ranking,
    "note": noting,
    "search": searching,
    "find": finding,
}


async def make(name: str, scene: Scene, variant: str, home: Path) -> None:
    """Run one scene in one theme and write its picture."""
    registry = load_registry()
    settings = SessionSettings(LoadRequest("guide"), overrides={"seed": 1})
    writer = TranscriptWriter(home / f"{name}-{variant}.db")
    session = ChatSession(LocalBackend(registry), registry, settings, writer)
    app = TuiChat(session, UiSettings(theme=THEMES[variant]))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: session.state == "ready")
        await scene(app, pilot)
        path = PICTURES / f"{name}-{variant}.svg"
        path.write_text(app.export_screenshot(title="tui-chat"), encoding="utf-8")
        print(path.name)
    session.close()


def main() -> None:
    """Make the pictures, by default all, as a terminal with all colours shows them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", choices=[[], *SCENES], metavar="SCENE")
    wanted = parser.parse_args().scenes or list(SCENES)
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
    os.environ.pop("NO_COLOR", None)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        for name in wanted:
            for variant in THEMES:
                asyncio.run(make(name, SCENES[name], variant, Path(home)))


if __name__ == "__main__":
    main()
