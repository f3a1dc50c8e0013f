"""Pictures of the chat in its states, dark and light, wide, normal and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.ui.chat_app import NOON, chat_app, chat_of, idle, say, talk, until
from tests.ui.painted import marked, row_of, rows, struck
from tests.ui.pictures import Act, Picture
from tui_chat.chat import conversation as conversations
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.events import Failed
from tui_chat.engine.contract.scripted import Script
from tui_chat.session import ChatSession
from tui_chat.ui.app import TuiChat

Size = tuple[int, int]
WIDE, NORMAL, NARROW = (120, 40), (80, 24), (40, 12)

LESS_RANDOM = """\
Lower the **temperature**: press `F2`, choose *temperature*, and step left. At 0 the model \
always takes the most probable token.

```bash
tui-chat --set temperature=0
```
"""
UNDO = """\
Backspace on the value brings the default back. In Python:

```python
class Panel:
    def reset(self, name: str) -> float:
        # the preset's own value
        return self.preset.values.get(name, 1.0)
```

| key | does |
|---|---|
| `F2` | opens the panel |
| `z` | undoes in the transcript |

1. Choose the value.
2. Press Backspace.
"""


def chat() -> Conversation:
    """A chat with a little of everything."""
    return talk(
        "How do I make the answers less random?", LESS_RANDOM, "And how do I undo that?", UNDO
    )


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold the clock, and end what a picture was taken of."""
    sessions: list[ChatSession] = []
    started = ChatSession.start

    def start(session: ChatSession) -> None:
        sessions.append(session)
        started(session)

    monkeypatch.setattr(conversations, "now", lambda: NOON)
    monkeypatch.setattr(ChatSession, "start", start)
    yield
    for session in sessions:
        session.close(5.0)


async def ready(pilot: Pilot[Any]) -> None:
    """Wait until the model is there and everything is mounted and counted."""
    app = pilot.app
    assert isinstance(app, TuiChat)
    await until(pilot, lambda: app.session.state == "ready")
    await until(pilot, lambda: app.chat.page.loading_line.step is None)
    await until(pilot, lambda: app.chat.meter.values is not None and app.chat.meter.values.exact)
    await until(pilot, lambda: "GiB" in app.chat.page.title_line.left.plain or app.size.width < 50)
    await idle(pilot)


async def stream(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await say(pilot, "Tell me about lighthouses")
    app = pilot.app
    assert isinstance(app, TuiChat)
    await until(pilot, lambda: row_of(app, "It guides ships home.") is not None)
    await until(
        pilot, lambda: "writing" in chat_of(pilot).meter.status.plain or pilot.app.size.width < 50
    )


async def load(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: chat_of(pilot).session.loading is not None)
    await say(pilot, "Are you there?")
    await until(pilot, lambda: len(chat_of(pilot).transcript.path) == 2)
    await until(
        pilot, lambda: getattr(chat_of(pilot).page.loading_line.step, "elapsed_s", 0) == 14.0
    )
    await until(
        pilot, lambda: "40" in chat_of(pilot).meter.status.plain or pilot.app.size.width < 50
    )


async def fail(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await say(pilot, "Why is the sky blue?")
    await until(pilot, lambda: chat_of(pilot).notice.error is not None)
    await ready(pilot)
    await until(pilot, lambda: chat_of(pilot).bar.tokens == 5)


async def push_out(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    chat_of(pilot).bar.prompt.insert("And then some more words " * 6)
    await until(pilot, lambda: any("not sent" in row for row in rows(chat_of(pilot).transcript)))
    await until(pilot, lambda: chat_of(pilot).bar.tokens and chat_of(pilot).bar.tokens > 25)


async def open_panel(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await pilot.press("f2", "down", "down", "right")


async def mark(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await pilot.press("escape", "g", "p", "j", "plus", "j", "x")
    app = pilot.app
    assert isinstance(app, TuiChat)
    await until(pilot, lambda: struck(app))


async def select_code(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await pilot.press("escape", "u")


async def find(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await pilot.press("ctrl+f", *"value", "enter")
    chat = chat_of(pilot)
    await until(pilot, lambda: "1/" in str(chat.query_one("#find-count").visual))
    for field in chat.query("#find-text"):
        field.cursor_blink = False  # type: ignore[attr-defined]
    app = pilot.app
    assert isinstance(app, TuiChat)
    await until(pilot, lambda: marked(app, is_current=True))


LIGHTHOUSE = """\
A lighthouse is a **tower** with a bright lamp.

- It warns of rocks
- It guides ships home."""
NO_ROOM = Failed(
    "oom", "The GPU ran out of memory", "It had 120 MiB left and needed 400 MiB",
    "Press F4 for 8bit, or F3 for a smaller model",
)  # fmt: skip
SMALL = Script(context=180, reserve=50)

PICTURES: dict[str, tuple[Size, str, Script, bool, bool, Act]] = {
    "empty": (NORMAL, "night", Script(), False, False, ready),
    "empty-narrow": (NARROW, "paper", Script(), False, False, ready),
    "talk-wide": (WIDE, "night", Script(), True, False, ready),
    "talk-light": (NORMAL, "paper", Script(), True, False, ready),
    "talk-narrow": (NARROW, "night", Script(), True, False, ready),
    "talk-terminal-colours": (NORMAL, "terminal", Script(), True, False, ready),
    "streaming-wide": (WIDE, "night", Script(replies=[LIGHTHOUSE]), True, True, stream),
    "streaming-narrow": (NARROW, "paper", Script(replies=[LIGHTHOUSE]), False, True, stream),
    "loading": (NORMAL, "night", Script(load_s=0.001), False, True, load),
    "loading-wide-light": (WIDE, "paper", Script(load_s=0.001), False, True, load),
    "failed": (NORMAL, "night", Script(failures={0: (0, NO_ROOM)}), True, False, fail),
    "forget-line-light": (NORMAL, "paper", SMALL, True, False, push_out),
    "forget-line-wide": (WIDE, "night", SMALL, True, False, push_out),
    "panel-beside-light": (WIDE, "paper", Script(), True, False, open_panel),
    "panel-over": (NORMAL, "night", Script(), True, False, open_panel),
    "marked": (NORMAL, "night", Script(), True, False, mark),
    "marked-light": (WIDE, "paper", Script(), True, False, mark),
    "find-wide": (WIDE, "night", Script(), True, False, find),
    "find-light": (NORMAL, "paper", Script(), True, False, find),
    "find-narrow": (NARROW, "night", Script(), True, False, find),
    "code-selected": (NORMAL, "night", Script(), True, False, select_code),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, picture: Picture) -> None:
    size, theme, script, has_chat, is_held, act = PICTURES[name]
    app = chat_app(script, chat() if has_chat else None, theme, is_held=is_held)
    app.animation_level = "none"
    assert picture(app, size, act)
