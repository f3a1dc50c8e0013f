"""Talking: sending, streaming, stopping, waiting, failing, and the way back of a draft."""

from __future__ import annotations

import pytest

from tests.ui.chat_app import chat_app, chat_of, idle, running, say, talk, until
from tests.ui.painted import message_rows, rows, words
from tui_chat.chat.events import Failed
from tui_chat.engine.contract.scripted import GIB, Script
from tui_chat.errors import ModelLoadError, TuiChatError
from tui_chat.ui.app import TuiChat

SLOW = Script(replies=["Once upon a time there was a lighthouse. " * 20], token_s=0.02)
REPLY = "Here is **bold**, a list:\n\n- one\n- two\n\n```python\nprint('hello')\n```\n\nDone."


async def test_a_message_is_sent_and_its_reply_is_shown_to_the_letter() -> None:
    app = chat_app(Script(replies=[REPLY]))
    async with running(app) as pilot:
        await say(pilot, "Show me")
        await until(pilot, lambda: len(app.chat.transcript.path) == 2)
        await idle(pilot)
        _, reply = app.chat.transcript.path
        await until(pilot, lambda: "Show" in words(app, 0))
        await until(pilot, lambda: "Done." in words(app, 1))
        assert [row.strip() for row in message_rows(app, 1)][:8] == [
            "Here is bold, a list:", "", "• one", "• two", "", message_rows(app, 1)[5].strip(),
            "", "Done.",
        ]  # fmt: skip
        code = message_rows(app, 1)[5]
        assert code.startswith("    print('hello')") and code.endswith("python  1 ⧉")
        assert reply.status == "complete" and reply.text == REPLY
        assert not app.chat.bar.draft
        assert app.chat.transcript.codes(reply.id) == {1: "print('hello')"}


async def test_text_appears_while_it_is_written_and_stop_keeps_it() -> None:
    app = chat_app(SLOW)
    async with running(app) as pilot:
        await say(pilot, "Tell me a story")
        await until(pilot, lambda: app.session.state == "decoding")
        await until(pilot, lambda: "lighthouse." in words(app, 1))
        await pilot.press("escape")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].status == "stopped")
        message = app.session.messages()[-1]
        said = message.text.split()
        await until(pilot, lambda: words(app, 1)[: len(said)] == said)
        assert "■ stopped at" in " ".join(words(app, 1))
        await say(pilot, "Go on")
        await until(pilot, lambda: len(app.session.messages()) == 4)


async def test_a_message_sent_while_the_model_loads_waits_for_it() -> None:
    app = chat_app(Script(load_s=0.05))
    async with running(app, ready=False) as pilot:
        await until(pilot, lambda: app.session.state == "loading")
        await say(pilot, "Are you there?")
        await until(pilot, lambda: "waits for the model" in " ".join(words(app, 1)))
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].status == "complete")


async def test_a_waiting_message_is_taken_back_with_esc() -> None:
    app = chat_app(Script(load_s=0.3))
    async with running(app, ready=False) as pilot:
        await until(pilot, lambda: app.session.state == "loading")
        await say(pilot, "Are you there?")
        await until(pilot, lambda: app.session.is_busy)
        await pilot.press("escape")
        await until(pilot, lambda: app.chat.bar.draft.full == "Are you there?")
        assert not app.session.messages()


async def test_a_failed_request_gives_the_draft_back_and_says_why() -> None:
    failure = Failed("oom", "The GPU ran out of memory", "It needed 400 MiB", "Press F4 for 8bit")
    app = chat_app(Script(failures={0: (0, failure)}))
    async with running(app) as pilot:
        await say(pilot, "[/foo] A question worth keeping")
        await until(pilot, lambda: app.chat.notice.error is not None)
        assert app.chat.bar.draft.full == "[/foo] A question worth keeping"
        error = app.chat.notice.error
        assert error is not None and error.hint == "Press F4 for 8bit"
        await idle(pilot)
        await until(pilot, lambda: not app.chat.transcript.path)
        assert not any(rows(app.chat.transcript))
        await pilot.press("enter")
        await until(pilot, lambda: len(app.session.messages()) == 2)
        await idle(pilot)
        await until(pilot, lambda: app.chat.notice.error is None)
        await until(pilot, lambda: app.session.messages()[-1].status == "complete")


async def test_a_failed_request_leaves_a_newer_draft_alone() -> None:
    failure = Failed("internal", "It broke")
    app = chat_app(Script(failures={0: (0, failure)}, prefill_s=0.3))
    async with running(app) as pilot:
        await say(pilot, "First")
        await until(pilot, lambda: app.session.state == "prefill")
        chat_of(pilot).bar.prompt.insert("Second")
        await until(pilot, lambda: app.chat.notice.error is not None)
        await idle(pilot)
        await until(pilot, lambda: app.chat.bar.draft.full == "Second")
        await until(pilot, lambda: app.session.messages()[-1].status == "failed")
        await until(pilot, lambda: "✗ It broke. r retries" in " ".join(words(app, 1)))


async def test_a_reply_that_breaks_off_keeps_its_text_and_can_be_continued() -> None:
    failure = Failed("bad_numbers", "The model computed no number", "", "Try another precision")
    app = chat_app(Script(replies=["one two three", " four"], failures={0: (2, failure)}))
    async with running(app) as pilot:
        await say(pilot, "Count")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "one two")
        assert app.chat.notice.error is not None
        await pilot.press("escape", "greater_than_sign")
        await until(pilot, lambda: app.session.messages()[-1].text == "one two four")


async def test_too_long_a_message_is_refused_with_its_size_and_stays() -> None:
    app = chat_app(Script(context=200, reserve=50))
    async with running(app) as pilot:
        text = "word " * 190
        chat_of(pilot).bar.prompt.insert(text)
        await pilot.press("enter")
        await until(pilot, lambda: app.chat.notice.error is not None)
        assert app.chat.bar.draft.full == text
        error = app.chat.notice.error
        assert error is not None and "19" in error.detail
        assert not app.session.messages()


async def test_a_failed_load_says_that_the_old_model_is_back() -> None:
    broken = TuiChatError("oasst-12b has no tokenizer", "tokenizer.json is missing", "Press F3")
    app = chat_app(Script(load_failures={"oasst-12b": broken}, free=64 * GIB))
    async with running(app) as pilot:
        await app.run_command("model", "oasst-12b")
        await until(pilot, lambda: app.chat.notice.error is not None)
        error = app.chat.notice.error
        assert error is not None
        assert error.title == "oasst-12b has no tokenizer"
        assert "guide in bf16" in error.detail
        await until(pilot, lambda: app.session.state == "ready")
        await say(pilot, "Still there?")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].status == "complete")


async def test_the_reader_who_scrolled_up_is_left_alone_and_told_of_new_lines() -> None:
    story = Script(replies=["A line.\n\n" * 60], token_s=0.01)
    app = chat_app(story, talk(*(["Question?", "Answer.\n\n" * 10] * 4)))
    async with running(app) as pilot:
        await say(pilot, "Go")
        await until(pilot, lambda: app.session.state == "decoding")
        await pilot.press("pageup", "pageup")
        seen = rows(app.chat.transcript)
        await until(pilot, lambda: app.chat.transcript.unseen_lines > 3)
        assert rows(app.chat.transcript) == seen
        await pilot.press("end")
        await pilot.press("end")
        await until(pilot, lambda: app.chat.transcript.is_following)
        await until(pilot, lambda: app.chat.transcript.unseen_lines == 0)
        await pilot.press("escape")
        await idle(pilot)


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_a_failed_first_load_says_what_failed_and_what_to_do(size: tuple[int, int]) -> None:
    broken = ModelLoadError("guide has no weights", "model.safetensors is missing", "Press F3")
    app = chat_app(Script(load_failures={"guide": broken}, models=("guide", "oasst-12b"),
                          free=64 * GIB))  # fmt: skip
    async with running(app, size, ready=False) as pilot:
        await until(pilot, lambda: "guide has no weights" in page(app))
        assert "model.safetensors is missing" in page(app) and "Press F3" in page(app)
        assert "listens" not in page(app) and "knows this program" not in page(app)
        await say(pilot, "Anybody there?")
        await until(pilot, lambda: app.chat.bar.draft.full == "Anybody there?")
        await until(pilot, lambda: app.chat.notice.error is not None)
        await app.run_command("model", "oasst-12b")
        await until(pilot, lambda: app.session.state == "ready")
        await until(pilot, lambda: "guide has no weights" not in page(app))


@pytest.mark.parametrize("name", ["no-such-model", "/no/such/directory"])
async def test_where_there_is_a_key_no_command_is_named(name: str) -> None:
    app = chat_app()
    async with running(app) as pilot:
        await app.run_command("model", name)
        await until(pilot, lambda: name in told(app))
        assert "F3" in told(app) and "tui-chat " not in told(app)


def page(app: TuiChat) -> str:
    """What the terminal shows."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def told(app: TuiChat) -> str:
    """The notifications of now."""
    return "\n".join(notification.message for notification in app.toasts.present)
