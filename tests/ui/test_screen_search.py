"""All saved chats searched from the app: live, with every state, and opened at the message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.ui.chat_app import NOON, STILL, registry, say, talk
from tests.ui.chat_app import running as running_app
from tests.ui.pictures import Picture
from tests.ui.piece_app import until
from tests.ui.stage import HOSTILE, SavedChats, Stage, session_for_tests, type_fast
from tests.ui.test_screen_snapshots import steady
from tui_chat.chat.query import Query
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.errors import StoreError
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.storage.database.search import Found
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.save_state import SaveState
from tui_chat.storage.saving.writer import TranscriptWriter
from tui_chat.ui.app import TuiChat, UiSettings
from tui_chat.ui.screens.search import Place, SearchScreen

SNIPPETS = (
    ("Herons and storks", "user", "How do herons keep so still while they fish in cold water?"),
    ("Herons and storks", "assistant", "…the light-weight legs lose little warmth: a heron's blood "
     "is cooled on its way down, so that herons can stand in cold water for hours before…"),
    ("Birds of the river", "assistant", "Grey herons, little egrets and night herons nest here."),
    ("", "user", "heron or crane"),
)  # fmt: skip


def found(number: int, title: str, role: str, snippet: str, word: str = "heron") -> Found:
    """What a search gives."""
    starts = [i for i in range(len(snippet)) if snippet.lower().startswith(word, i)]
    ranges = tuple((start, start + len(word)) for start in starts)
    model = "guide" if role == "assistant" else ""
    return Found(f"{number:032x}", title, f"{number + 99:032x}", role, model, NOON, snippet, ranges)


class Searched(SavedChats):
    """A session that finds what it is given; what was asked is noted."""

    def __init__(self, rows: list[Found], error: Exception | None = None) -> None:
        super().__init__([], error)
        self.rows = rows
        self.asked: list[Query] = []
        self.held: dict[str, Event] = {}

    @property
    def save_state(self) -> SaveState | None:
        return SaveState(True, 0)

    def search(self, query: Query, limit: int = 50) -> list[Found]:
        self.asked.append(query)
        word = query.terms[0].text if query.terms else ""
        if word in self.held:
            self.held[word].wait(20)
        if self.error is not None:
            raise self.error
        return [row for row in self.rows if word.lower() in row.snippet.lower()][:limit]


ROWS = [found(n, *row) for n, row in enumerate(SNIPPETS)]


async def opened(pilot: Pilot[None], app: Stage, text: str = "") -> SearchScreen:
    screen = SearchScreen(app.session, text, clock=lambda: NOON)
    await app.show(screen, pilot)
    return screen


async def test_results_come_while_typing_and_enter_opens_the_highlighted_one() -> None:
    session = Searched(ROWS)
    app = Stage(session=session)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app)
        assert "role:user" in app.shown() and "Enter" not in app.shown()
        await pilot.press(*"heron")
        await until(pilot, lambda: session.asked and session.asked[-1].match == '"heron"*')
        await until(pilot, lambda: screen.note == "4 messages")
        assert "fish in cold water" in app.shown() and "Birds of the river" in app.shown()
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.results == [Place(ROWS[1].chat_id, ROWS[1].message_id)])


async def test_enter_takes_the_answer_to_all_that_was_typed() -> None:
    app = Stage(session=Searched(ROWS))
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app)
        type_fast(app, *"crane", "enter")
        await until(pilot, lambda: app.results == [Place(ROWS[3].chat_id, ROWS[3].message_id)])


async def test_an_answer_that_comes_too_late_is_dropped() -> None:
    session = Searched(ROWS)
    session.held["herons"] = Event()
    app = Stage(session=session)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, "herons")
        await until(pilot, lambda: session.asked)
        await pilot.press(*[*["backspace"] * 6, *"crane"])
        await until(pilot, lambda: screen.note == "1 message")
        session.held["herons"].set()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert list(screen.choices.rows) == [ROWS[3]]


async def test_every_state_has_a_face() -> None:
    session = Searched(ROWS)
    app = Stage(session=session)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, app, "egretta")
        await until(pilot, lambda: "No message matches" in app.shown())
        await pilot.press("enter")
        screen.query_one("#filter").value = "rol:user"  # type: ignore[attr-defined]
        await until(pilot, lambda: "Did you mean role:?" in app.shown())
        session.error = StoreError("The chats cannot be read", f"Disk {HOSTILE}", "Wait")
        screen.query_one("#filter").value = "heron"  # type: ignore[attr-defined]
        await until(pilot, lambda: "The chats cannot be read" in app.shown())
        assert "\x1b" not in app.shown()
        session.error = None
        await pilot.press("backspace")
        await until(pilot, lambda: screen.note == "4 messages")
        screen.query_one("#filter").value = ""  # type: ignore[attr-defined]
        await until(pilot, lambda: "in every saved message" in app.shown())
        await pilot.press("escape")
        await until(pilot, lambda: app.results == [None])


async def test_a_run_that_saves_nothing_says_so() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(pilot, app, "x")
        await until(pilot, lambda: "Nothing is saved in this run" in app.shown())


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_hostile_text_is_text(size: tuple[int, int]) -> None:
    app = Stage(session=Searched([found(0, HOSTILE, "user", f"heron {HOSTILE}\n heron")]))
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot, app, "heron")
        await until(pilot, lambda: screen.note == "1 message")
        await until(pilot, lambda: "[@click" in app.shown())
        assert not set("\x1b\x07\u202e\u200b") & set(app.shown())


# With the whole program ---------------------------------------------------------------------------


@pytest.fixture
def saving(tmp_path: Path) -> Iterator[Callable[[], TuiChat]]:
    """An app whose chats are saved."""
    path = tmp_path / "home" / "transcripts.db"

    def make() -> TuiChat:
        session = ChatSession(
            ScriptedBackend(Script()), registry(), SessionSettings(LoadRequest("guide")),
            TranscriptWriter(path),
        )  # fmt: skip
        return TuiChat(session, UiSettings(theme="night"), STILL)

    chat = talk("Do herons migrate?", "Some do.", "Where to?", "To the south.")
    chat.set_leaf(chat.path()[1].id)
    chat.append("user", "And storks?")  # the branch about the south is not the active one now
    with TranscriptStore(path) as store, store.change():
        store.save_conversation(chat)
    yield make


async def choose(pilot: Pilot[Any], app: TuiChat, words: str) -> None:
    """Search and open the first."""
    app.chat.focus_prompt()
    await say(pilot, f"/search {words}")
    await until(pilot, lambda: isinstance(app.screen, SearchScreen))
    screen = app.screen
    assert isinstance(screen, SearchScreen)
    await until(pilot, lambda: screen.query_one("#found").display)
    await pilot.press("enter")
    await until(pilot, lambda: app.screen is app.chat)


async def test_a_chat_opens_at_the_message_on_whatever_branch(
    saving: Callable[[], TuiChat],
) -> None:
    app = saving()
    async with running_app(app) as pilot:
        await choose(pilot, app, "south")
        transcript = app.chat.transcript
        await until(pilot, lambda: transcript.selected_message is not None)
        message = transcript.selected_message
        assert message is not None and message.text == "To the south."
        assert [m.text for m in transcript.path][-2:] == ["Where to?", "To the south."]
        assert transcript.has_focus
        await choose(pilot, app, "storks")  # the same chat, another branch
        await until(pilot, lambda: transcript.path[-1].text == "And storks?")
        await until(pilot, lambda: transcript.selected == transcript.path[-1].id)
        await pilot.press("z")
        await until(pilot, lambda: transcript.path[-1].text == "To the south.")


# Pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theme", "size", "text"),
    [("night", (120, 40), "heron"), ("paper", (80, 24), "heron"), ("night", (40, 12), "heron"),
     ("paper", (80, 24), ""), ("night", (80, 24), "before:soon")],
)  # fmt: skip
def test_picture(
    theme: str, size: tuple[int, int], text: str, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_chat.ui.screens.search.chat_date", lambda moment, now: "12 Mar")
    app = Stage(theme, Searched(ROWS))

    async def open_sheet(pilot: Pilot[None]) -> None:
        await opened(pilot, app, text)
        await until(pilot, lambda: "Esc Close" in app.shown())
        if text == "heron":
            await until(pilot, lambda: "4 messages" in app.shown() and "Enter" in app.shown())
        steady(app)

    assert picture(app, size, open_sheet)
