"""The chat screen as a whole: sizes, panel, themes, hostile text, focus, and the way out."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from textual.widgets import Static

from tests.storage import writing
from tests.storage.faults import sqlite_error
from tests.ui.chat_app import STILL, chat_app, idle, registry, running, say, talk, until
from tui_chat.chat.events import Failed
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.session import ChatSession, SessionSettings
from tui_chat.storage.saving.writer import TranscriptWriter
from tui_chat.ui.app import TuiChat, UiSettings

HOSTILE = (
    "[/foo] [@click=app.quit]x[/] [bold",
    "\x1b]52;c;ZXZpbA==\x07 \x1b[2J \x9b31m",
    "\u202eright to left\u202c \u200b zero \u2066x\u2069",
    "<script>alert(1)</script> <b>bold</b>\n\n<div>block</div>",
    "![x](y) [link](javascript:alert(1)) [lie](vscode://x) &#x202e; &#x1b;",
    "```\n[/foo]\n```\n| a |\n|---|\n| [/b] |\n",
    "# [/foo]\n\n> [/foo]\n\n- [/foo]\n\n`[/foo]`",
    "<|assistant|><|endoftext|>",
    "e\u0301" + "\u0301" * 500,
)


def painted(app: object) -> str:
    """Everything on the screen, as text."""
    return "\n".join(
        "".join(segment.text for segment in line)
        for line in app.screen._compositor.render_strips()  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_is_text_everywhere(text: str) -> None:
    failure = Failed("internal", text, text, text)
    app = chat_app(Script(replies=[text], failures={1: (0, failure)}), talk(text, text))
    app.session.conversation.title = text
    async with running(app) as pilot:
        await say(pilot, text)
        await idle(pilot)
        await say(pilot, text)
        await until(pilot, lambda: app.chat.notice.error is not None)
        await app.run_command("system", text)
        await app.run_command("theme", text)
        await pilot.press("escape", "up", "up", "escape")
        await pilot.pause()
        shown = painted(app)
        bad = [c for c in shown if (ord(c) < 32 and c != "\n") or "\u202a" <= c <= "\u202e"]
        assert not bad
        assert app.is_running


async def test_raw_html_is_shown_and_not_dropped() -> None:
    app = chat_app(conversation=talk("Question", "Use <b>this</b>:\n\n<div>\nblock\n</div>\n"))
    async with running(app) as pilot:
        await pilot.pause()
        shown = painted(app)
        assert "<b>this</b>" in shown
        assert "<div>" in shown


SIZES = [(120, 40), (80, 24), (40, 12), (20, 5), (10, 3), (1, 1), (300, 3)]


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_every_size_works_and_keeps_the_state(size: tuple[int, int]) -> None:
    app = chat_app(conversation=talk("Question", "Answer\n\n```\ncode\n```\n"))
    async with running(app) as pilot:
        await pilot.press(*"draft")
        await pilot.resize_terminal(*size)
        await pilot.pause()
        is_tiny = size[0] < 20 or size[1] < 5
        assert app.chat.has_class("-tiny") is is_tiny
        if is_tiny and size[0] >= 10 and size[1] >= 3:
            assert "terminal too small".startswith(" ".join(painted(app).split())[:8])
        await pilot.press("x")
        await pilot.resize_terminal(100, 30)
        await pilot.pause()
        assert app.chat.bar.draft.text == "draftx"
        await until(pilot, lambda: "Question" in painted(app) and "code" in painted(app))


async def test_a_storm_of_sizes_and_keys_while_streaming_breaks_nothing() -> None:
    app = chat_app(Script(replies=["Words and `code`.\n\n- item\n" * 400], token_s=0.003))
    chance = random.Random(7)
    async with running(app) as pilot:
        await say(pilot, "Go")
        for _ in range(10):
            await pilot.resize_terminal(chance.randint(1, 160), chance.randint(1, 50))
            app.simulate_key(chance.choice(["a", "escape", "pageup", "pagedown", "f2", "tab", "j"]))
        await pilot.resize_terminal(100, 30)
        app.session.stop_all()
        await idle(pilot)
        await until(pilot, lambda: app.is_running)


async def test_the_panel_stands_beside_the_text_or_covers_it() -> None:
    app = chat_app(conversation=talk("Question", "Answer"))
    async with running(app, (120, 40)) as pilot:
        await pilot.press("f2")
        panel = app.chat.panel.mount()
        await until(pilot, lambda: panel.display and panel.region.width == 34)
        await until(pilot, lambda: app.chat.transcript.region.width > 60)
        await pilot.press("right")
        await until(pilot, lambda: app.session.params.temperature > 0)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert panel.region.width == 80
        await pilot.press("escape")
        await until(pilot, lambda: not panel.display)
        await until(pilot, lambda: app.chat.bar.prompt.has_focus)
        await until(pilot, lambda: app.chat.transcript.region.width > 60)


async def test_every_theme_is_switched_live() -> None:
    app = chat_app(conversation=talk("Question", "Answer\n\n```python\nx = 1  # one\n```\n"))
    async with running(app) as pilot:
        await pilot.press("escape")
        for name in sorted(app.available_themes):
            app.theme = name
            await pilot.pause()
            assert "x = 1" in painted(app)


async def test_esc_steps_between_prompt_and_transcript() -> None:
    app = chat_app(conversation=talk("Question", "Answer"))
    async with running(app) as pilot:
        await pilot.press("escape")
        await until(pilot, lambda: app.chat.transcript.has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: app.chat.bar.prompt.has_focus)


async def test_the_footer_shows_only_keys_that_work() -> None:
    app = chat_app(Script(replies=["word " * 5000], token_s=0.02))
    async with running(app) as pilot:
        await pilot.pause()
        footer = painted(app).splitlines()[-1]
        assert "Stop" not in footer and "Enter" not in footer and "F1 Help" in footer
        await say(pilot, "Go")
        await until(pilot, lambda: "Esc Stop" in painted(app).splitlines()[-1])
        await app.run_command("stop")
        await idle(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: "y Copy" in painted(app).splitlines()[-1])
        footer = painted(app).splitlines()[-1]
        assert "> Continue" in footer and "u Code block" not in footer


async def test_a_dialog_gets_its_own_keys() -> None:
    app = chat_app(conversation=talk("Question", "Answer"))
    async with running(app) as pilot:
        await pilot.press("f1")
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.press("f3", "ctrl+n")
        await until(pilot, lambda: len(app.session.messages()) == 2)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)


async def test_a_notice_stays_until_a_key_and_the_key_still_counts() -> None:
    app = chat_app(Script(context=100, reserve=20))
    async with running(app) as pilot:
        await say(pilot, "word " * 99)
        await until(pilot, lambda: app.chat.notice.error is not None)
        await pilot.press("x")
        await until(pilot, lambda: app.chat.notice.error is None)
        await until(pilot, lambda: app.chat.bar.draft.text.endswith("x"))


async def test_notices_of_the_settings_are_told() -> None:
    app = chat_app(theme="no-such-theme", notices=("config.toml, line 3: no [/setting]",))
    async with running(app) as pilot:
        await until(pilot, lambda: len(app.toasts.present) >= 2)
        texts = [n.message for n in app.toasts.present]
        assert any("[/setting]" in text for text in texts)
        assert any("no-such-theme" in text for text in texts)


async def test_a_disk_that_failed_for_a_moment_is_told_afterwards(tmp_path: Path) -> None:
    switch = writing.Switch()
    switch.error = sqlite_error(sqlite3.SQLITE_FULL)
    writer = TranscriptWriter(tmp_path / "chats.db", factory=switch.factory, backoff=writing.FAST)
    session = ChatSession(
        ScriptedBackend(Script()), registry(), SessionSettings(LoadRequest("guide")), writer
    )
    writing.until(lambda: not writer.state.ok)  # before anybody listens
    app = TuiChat(session, UiSettings(theme="night"), STILL)
    async with running(app) as pilot:
        await until(pilot, lambda: "not saved: the disk is full" in painted(app))
        assert not app.toasts.present, "the title line says it"
        switch.error = None
        await until(pilot, lambda: len(app.toasts.present) > 0)
        (told,) = app.toasts.present
        assert (told.severity, told.message) == (
            "warning", "Everything is saved again. It was not for a while: the disk is full.",
        )  # fmt: skip
        await until(pilot, lambda: "not saved" not in painted(app))


async def test_nothing_runs_while_nothing_happens() -> None:
    app = chat_app(conversation=talk("Question", "Answer"))
    async with running(app) as pilot:
        await pilot.pause()
        timers = [
            timer
            for node in app.chat.walk_children(with_self=True)
            for timer in node._timers
            if timer._active.is_set() and timer.name and "blink" in timer.name
        ]
        assert not timers


def test_the_screens_are_imported_without_torch() -> None:
    code = "import sys, tui_chat.ui.app; print({'torch', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


async def test_what_changes_during_a_batch_is_painted_at_its_end() -> None:
    app = chat_app()
    async with running(app) as pilot:
        await idle(pilot)
        await until(pilot, lambda: "0 tok" in painted(app))
        with app.batch_update():
            app.chat.bar.query_one("#prompt-count", Static).update("4 321 tok")
            # everything that was asked for is handled, but nothing is painted
            await until(pilot, lambda: app.chat._layout_required or app.chat._dirty_widgets)
            await asyncio.sleep(0.2)
            assert "4 321 tok" not in painted(app)
        await until(pilot, lambda: "4 321 tok" in painted(app))
