"""An app that stands behind one modal screen: a page of text, a real session, a scripted model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Static

from tests.ui.piece_app import PieceApp, until
from tui_chat.chat.query import Query
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.storage.database.records import ChatSummary
from tui_chat.ui.keys.bindings import short_key

NOW = datetime(2025, 3, 14, 12, 0, tzinfo=UTC)
HOSTILE = (
    "[@click=app.quit]x[/] [/foo] \x1b[31mred\x1b]52;c;QQ==\x07 \u202etxt.exe 漢字かな \u200b[b]"
)
"""Markup, escape sequences, a direction override, wide characters and an invisible one."""

_PAGE = "\n\n".join(
    f"Line {n} of the chat behind the sheet, long enough to be seen at both of its sides, at last."
    for n in range(1, 40)
)


class Stage(PieceApp):
    """Shows a page; `show` puts a screen on it and keeps its result."""

    def __init__(self, theme: str = "night", session: ChatSession | None = None) -> None:
        super().__init__(theme=theme)
        self._session = session
        self.results: list[Any] = []
        self.commands: list[tuple[str, str]] = []
        self.keymap: Mapping[str, str] = {}

    @property
    def session(self) -> ChatSession:
        assert self._session is not None
        return self._session

    def get_key_display(self, binding: Binding) -> str:
        return binding.key_display or short_key(binding.key)

    async def run_command(self, action_id: str, argument: str = "") -> None:
        self.commands.append((action_id, argument))

    def compose(self) -> ComposeResult:
        yield Static(_PAGE, markup=False)

    async def show(self, screen: Screen[Any], pilot: Pilot[None]) -> None:
        await self.push_screen(screen, self.results.append)
        await until(pilot, lambda: self.screen is screen and screen.is_mounted)
        await pilot.pause()


def type_fast(app: Stage, *keys: str) -> None:
    """Press keys as a program does that types for somebody: all of them at once."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


def session_for_tests(script: Script | None = None, **settings: Any) -> ChatSession:
    """A session with a scripted model, `guide`, and nothing saved."""
    backend = ScriptedBackend(script or Script())
    registry = Registry({name: ModelSpec(name, f"script:{name}") for name in backend.script.models})
    return ChatSession(backend, registry, SessionSettings(LoadRequest("guide"), **settings))


async def loaded(pilot: Pilot[None], session: ChatSession) -> ChatSession:
    """Wait until the session's model is loaded."""
    session.start()
    await until(pilot, lambda: session.state == "ready")
    return session


class SavedChats(ChatSession):
    """A session whose saved chats are a list; what is done to them is noted."""

    def __init__(self, chats: list[ChatSummary], error: Exception | None = None) -> None:
        plain = session_for_tests()
        super().__init__(
            plain._backend, plain._registry, SessionSettings(LoadRequest("guide")), None
        )
        self.saved = chats
        self.error = error
        self.done: list[tuple[str, ...]] = []
        self.asked: list[Query] = []
        self.may_answer = Event()
        self.may_answer.set()

    def chats(self) -> list[ChatSummary]:
        if self.error is not None:
            raise self.error
        return list(self.saved)

    def chats_with(self, query: Query) -> frozenset[str]:
        self.asked.append(query)
        self.may_answer.wait(10.0)
        return frozenset(
            chat.id
            for chat in self.saved
            if set(query.tags) <= set(chat.tags) and query.archived in (None, chat.archived)
        )

    def load_chat(self, id_or_prefix: str) -> Any:
        from tui_chat.chat.conversation import Conversation

        chat = Conversation(id_or_prefix)
        chat.append("user", "How do I make the answers less random?\n\n\nPlease be short.")
        chat.append("assistant", f"Lower the temperature: press F2. {HOSTILE}", model="guide")
        return chat

    def rename_chat(self, chat_id: str, title: str) -> None:
        self.done.append(("rename", chat_id, title))

    def delete_chat(self, chat_id: str) -> None:
        self.done.append(("delete", chat_id))

    def undelete_chat(self, chat_id: str) -> None:
        self.done.append(("undelete", chat_id))


def summaries(count: int, titles: Callable[[int], str] | None = None) -> list[ChatSummary]:
    """Saved chats, one every seven hours back from `NOW`."""
    make = titles or (lambda n: f"Question number {n} about tokens and temperature")
    models = ("guide", "oasst-12b", "qwen2.5-0.5b")
    return [
        ChatSummary(
            f"{n:032x}", make(n), models[n % 3], NOW - timedelta(hours=7 * n + 1),
            NOW - timedelta(hours=7 * n), 1 + n % 17, 2 + 2 * (n % 17),
        )
        for n in range(count)
    ]  # fmt: skip


def log_file(path: Path, lines: int) -> Path:
    """A log with a warning, an error and something hostile."""
    rows = [f"2025-03-14 12:00:{n % 60:02d} INFO engine: step {n} of loading" for n in range(lines)]
    rows += [
        "2025-03-14 12:01:00 WARNING engine: the tokenizer has no template",
        f"2025-03-14 12:01:01 ERROR engine: {HOSTILE}",
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
