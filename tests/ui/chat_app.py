"""The chat with a scripted model, a clock that stands still, and ways to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

from textual.pilot import Pilot

from tui_chat.chat.conversation import Conversation, Message, Role
from tui_chat.chat.events import EngineEvent, Finished, Loading, ModelInfo
from tui_chat.engine.contract.backend import Emit, EmitEach, GenerateRequest, LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.engine.files.registry import Registry, load_registry
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.ui.app import TuiChat, UiSettings
from tui_chat.ui.chat.page import Clock
from tui_chat.ui.chat.screen import ChatScreen

NOON = datetime(2026, 5, 4, 12, 4, tzinfo=UTC)
STILL = Clock(now=lambda: NOON, monotonic=lambda: 0.0)

_registry: Registry | None = None


def registry() -> Registry:
    """The project's registry, read once."""
    global _registry
    if _registry is None:
        _registry = load_registry()
    return _registry


class HeldBackend(ScriptedBackend):
    """A scripted model that stops in the middle until it is cancelled."""

    HELD_S = 30.0

    def load(self, request: LoadRequest, emit: Emit, cancel: Event) -> ModelInfo:
        def held(event: EngineEvent) -> None:
            if isinstance(event, Loading) and event.done == event.total * 4 // 10:
                emit(replace(event, elapsed_s=14.0))
                cancel.wait(self.HELD_S)
            else:
                emit(event)

        return super().load(request, held if self.script.load_s else emit, cancel)

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        def held(event: EngineEvent) -> None:
            if isinstance(event, Finished):
                cancel.wait(self.HELD_S)
            emit(event)

        super().generate(request, held, cancel)

    def generate_several(
        self, requests: Sequence[GenerateRequest], emit: EmitEach, cancels: Sequence[Event]
    ) -> None:
        ends: list[tuple[int, Finished]] = []

        def held(number: int, event: EngineEvent) -> None:
            if isinstance(event, Finished):
                ends.append((number, event))
            else:
                emit(number, event)

        super().generate_several(requests, held, cancels)
        for number, end in ends:
            cancels[number].wait(self.HELD_S)
            emit(number, replace(end, reason="cancelled"))


def chat_app(
    script: Script | None = None,
    conversation: Conversation | None = None,
    theme: str = "night",
    clock: Clock | None = STILL,
    is_held: bool = False,
    **settings: Any,
) -> TuiChat:
    """An app on a scripted model, not started yet."""
    backend = (HeldBackend if is_held else ScriptedBackend)(script or Script())
    session = ChatSession(backend, registry(), SessionSettings(load=LoadRequest("guide")))
    if conversation is not None:
        session.open_chat(conversation)
    return TuiChat(session, UiSettings(theme=theme, **settings), clock)


def talk(*texts: str, each: timedelta = timedelta(minutes=1)) -> Conversation:
    """A chat in which the user and the model take turns."""
    conversation = Conversation()
    when = NOON - len(texts) * each
    parent: str | None = None
    for index, text in enumerate(texts):
        role: Role = "assistant" if index % 2 else "user"
        message = Message(f"{index:032x}", parent, role, text, when + index * each)
        if role == "assistant":
            words = len(text.split())
            message = replace(
                message,
                model="guide",
                precision="bf16",
                finish_reason="eos",
                stats={
                    "prompt_tokens": 120,
                    "reused_tokens": 100,
                    "completion_tokens": words,
                    "ttft_s": 0.09,
                    "decode_tokens_per_s": 38.4,
                },
            )
        conversation.add(message)
        parent = message.id
    conversation.title = texts[0][:40] if texts else ""
    return conversation


@asynccontextmanager
async def running(
    app: TuiChat, size: tuple[int, int] = (100, 30), ready: bool = True
) -> AsyncIterator[Pilot[Any]]:
    """Run an app; by default wait until its model is loaded."""
    async with app.run_test(size=size, notifications=True) as pilot:
        app.chat.notice.reading_s = 0.0
        if ready:
            await until(pilot, lambda: app.session.state == "ready" and not loading(app))
            await until(pilot, lambda: app.chat.meter.values is not None)
        yield pilot
        app.session.close(1.0)


def loading(app: TuiChat) -> bool:
    """Whether the line of loading is shown."""
    return app.chat.page.loading_line.step is not None


async def until(pilot: Pilot[Any], holds: Callable[[], object], limit_s: float = 10.0) -> None:
    """Wait until something holds.

    Raises:
        AssertionError: If it does not within the limit.
    """
    deadline = asyncio.get_running_loop().time() + limit_s
    while not holds():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError("it did not come true in time")
        # not `pilot.pause`, which waits for the processor to be idle, and a model is not
        await asyncio.sleep(0.01)


async def say(pilot: Pilot[Any], text: str) -> None:
    """Type a text into the prompt and press Enter."""
    chat_of(pilot).bar.prompt.insert(text)
    await pilot.press("enter")


async def idle(pilot: Pilot[Any]) -> None:
    """Wait until nothing is written and everything is shown."""
    app = pilot.app
    assert isinstance(app, TuiChat)
    await until(pilot, lambda: not app.session.is_busy)
    await until(pilot, lambda: list(app.chat.transcript.path) == app.session.messages())
    await app.workers.wait_for_complete(
        [worker for worker in app.workers if worker.group == "outbox"]
    )
    await pilot.pause()


async def passed(pilot: Pilot[Any]) -> None:
    """Wait until the app and its top screen have handled what is on its way to them by now."""
    for node in (pilot.app, pilot.app.screen, pilot.app):
        handled = asyncio.Event()
        if node.call_later(handled.set):
            await handled.wait()


def chat_of(pilot: Pilot[Any]) -> ChatScreen:
    """The chat screen of a running app."""
    app = pilot.app
    assert isinstance(app, TuiChat)
    return app.chat
