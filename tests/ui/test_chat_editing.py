"""The keys of the transcript: select, copy, edit, retry, continue, flip, remove and undo."""

from __future__ import annotations

import pytest

from tests.ui.chat_app import chat_app, chat_of, idle, running, say, talk, until
from tests.ui.painted import dimmed, place_of, row_of, struck, words
from tui_chat.chat.marks import ChatDetails
from tui_chat.engine.contract.scripted import Script
from tui_chat.ui import clipboard
from tui_chat.ui.clipboard import CopyResult
from tui_chat.ui.transcript.transcript import Transcript

CODE = "First:\n\n```python\nprint(1)\n```\n\nSecond:\n\n```sh\nls\n```\n"


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was copied."""
    texts: list[str] = []

    def copy(text: str, write_terminal: object, environ: object = None) -> CopyResult:
        texts.append(text)
        return CopyResult(("OSC 52",), None, "Copied with OSC 52.")

    monkeypatch.setattr(clipboard, "copy", copy)
    return texts


async def test_the_selection_moves_by_keys() -> None:
    app = chat_app(conversation=talk("One", "Two", "Three", "Four"))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        ids = [message.id for message in transcript.path]
        await pilot.press("escape")
        await until(pilot, lambda: transcript.has_focus)
        await until(pilot, lambda: transcript.selected == ids[3])
        await pilot.press("k", "k")
        await until(pilot, lambda: transcript.selected == ids[1])
        await pilot.press("j")
        await until(pilot, lambda: transcript.selected == ids[2])
        await pilot.press("g")
        await until(pilot, lambda: transcript.selected == ids[0])
        await pilot.press("k")
        await until(pilot, lambda: transcript.selected == ids[0])
        await pilot.press("G")
        await until(pilot, lambda: transcript.selected == ids[3])
        await pilot.press("escape")
        await until(pilot, lambda: app.chat.bar.prompt.has_focus)
        await until(pilot, lambda: transcript.selected is None)
        await pilot.press("alt+up")
        await until(pilot, lambda: transcript.selected == ids[3])
        await pilot.press("alt+up")
        await until(pilot, lambda: transcript.selected == ids[2])


async def test_a_letter_that_is_no_command_goes_on_in_the_prompt() -> None:
    app = chat_app(conversation=talk("One", "Two"))
    async with running(app) as pilot:
        await pilot.press("escape", "w", "h", "y")
        await until(pilot, lambda: app.chat.bar.draft.text == "why")
        assert app.chat.bar.prompt.has_focus


async def test_copying_a_message_or_a_code_block_says_how(copied: list[str]) -> None:
    app = chat_app(conversation=talk("Show me", CODE))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "ls") is not None)
        await pilot.press("escape", "y")
        await until(pilot, lambda: copied == [CODE])
        await pilot.press("u", "y")
        await until(pilot, lambda: copied[1:] == ["print(1)"])
        await pilot.press("u", "y")
        await until(pilot, lambda: copied[2:] == ["ls"])
        await until(pilot, lambda: any("OSC 52" in n.message for n in app.toasts.present))
        await pilot.press("escape", "y")
        await until(pilot, lambda: copied[3:] == [CODE])


async def test_code_block_by_code_block_each_is_brought_into_view(copied: list[str]) -> None:
    blocks = "".join(f"Block {n}:\n\n```\ncode {n}\n```\n\n" + "words\n\n" * 20 for n in range(6))
    app = chat_app(Script(context=10**6), talk("Show me", blocks, "Thanks", "Welcome"))
    async with running(app, (80, 24)) as pilot:
        await pilot.press("escape", "k", "k")
        await until(pilot, lambda: app.chat.transcript.selected == app.chat.transcript.path[1].id)
        for number in [*range(6), 0]:
            await pilot.press("u")
            await until(pilot, lambda number=number: row_of(app, f"code {number}") is not None)
            await pilot.press("y")
            await until(pilot, lambda number=number: copied[-1:] == [f"code {number}"])


async def test_a_block_of_code_of_many_pieces_is_copied_whole(copied: list[str]) -> None:
    code = "\n".join(f"line {n}" for n in range(500)) + "\n" + "x" * 9_000
    app = chat_app(Script(context=10**6), talk("Show me", f"```\n{code}\n```\n\nDone."))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "Done.") is not None)
        await pilot.press("escape", "u")
        await until(pilot, lambda: row_of(app, "line 0") is not None)
        await pilot.press("y")
        await until(pilot, lambda: copied == [code])


async def test_editing_a_message_answers_it_again_and_brings_the_own_draft_back() -> None:
    app = chat_app(Script(replies=["New answer"]), talk("Old question", "Old answer"))
    async with running(app) as pilot:
        chat_of(pilot).bar.prompt.insert("my draft")
        await pilot.press("escape", "g", "e")
        await until(pilot, lambda: app.chat.bar.draft.text == "Old question")
        await until(pilot, lambda: app.chat.bar.has_class("-editing"))
        await pilot.press("escape")
        await until(pilot, lambda: app.chat.bar.draft.text == "my draft")
        await pilot.press("escape", "g", "e")
        chat_of(pilot).bar.prompt.load_full("Better question")
        await pilot.press("enter")
        await idle(pilot)
        await until(
            pilot,
            lambda: [m.text for m in app.session.messages()] == ["Better question", "New answer"],
        )
        await until(pilot, lambda: app.chat.bar.draft.text == "my draft")
        await until(pilot, lambda: app.session.versions(app.session.messages()[0].id) == (2, 2))
        await until(pilot, lambda: "2/2" in words(app, 0))


async def test_versions_are_flipped_and_what_was_removed_comes_back() -> None:
    app = chat_app(Script(replies=["Second answer"]), talk("Question", "First answer"))
    async with running(app) as pilot:
        await pilot.press("escape", "r")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "Second answer")
        await pilot.press("left")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "First answer")
        await pilot.press("right")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "Second answer")
        await until(pilot, lambda: app.chat.transcript.selected == app.session.messages()[-1].id)
        await pilot.press("delete")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "First answer")
        await pilot.press("z")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "Second answer")


async def test_retry_from_the_prompt_writes_a_new_version() -> None:
    app = chat_app(Script(replies=["Second answer"]), talk("Question", "First answer"))
    async with running(app) as pilot:
        await pilot.press("ctrl+r")
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "Second answer")
        await until(pilot, lambda: app.session.versions(app.session.messages()[-1].id) == (2, 2))


async def test_nothing_is_changed_while_a_reply_is_written() -> None:
    app = chat_app(Script(replies=["word " * 5000], token_s=0.02), talk("One", "Two"))
    async with running(app) as pilot:
        await say(pilot, "Go")
        await until(pilot, lambda: app.session.state == "decoding")
        count = len(app.session.conversation)
        await pilot.press("alt+up", "delete", "r", "e", "z")
        await app.run_command("delete")
        await pilot.pause()
        assert len(app.session.conversation) == count
        assert app.session.is_busy
        assert any("still being written" in n.message for n in app.toasts.present)
        await app.run_command("stop")
        await idle(pilot)


async def test_the_menu_of_a_message_does_what_its_keys_do() -> None:
    app = chat_app(Script(replies=["Second"]), talk("Question", "First"))
    async with running(app) as pilot:
        await pilot.press("escape", "enter")
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.press("r")
        await until(pilot, lambda: app.screen is app.chat)
        await idle(pilot)
        await until(pilot, lambda: app.session.messages()[-1].text == "Second")


async def test_a_queued_message_follows_the_reply_that_is_being_written() -> None:
    app = chat_app(Script(replies=["one two three " * 10, "answer"], token_s=0.05))
    async with running(app) as pilot:
        await say(pilot, "First")
        await until(pilot, lambda: app.session.state == "decoding")
        await say(pilot, "Second")
        await until(pilot, lambda: len(app.session.messages()) == 4)
        await idle(pilot)
        texts = [m.text for m in app.session.messages()]
        assert texts == ["First", "one two three " * 10, "Second", "answer"]


async def test_the_mouse_does_what_the_keys_do(copied: list[str]) -> None:
    app = chat_app(conversation=talk("Show me", CODE))
    async with running(app) as pilot:
        await until(pilot, lambda: row_of(app, "ls") is not None)
        await pilot.click(Transcript, offset=place_of(app, "Show me"))
        await until(pilot, lambda: app.chat.transcript.selected == app.chat.transcript.path[0].id)
        assert app.chat.transcript.has_focus
        await pilot.click(Transcript, offset=place_of(app, "2 ⧉"))
        await until(pilot, lambda: copied == ["ls"])
        await pilot.click(Transcript, offset=place_of(app, "python  1 ⧉"))
        await until(pilot, lambda: copied == ["ls", "print(1)"])
        await pilot.click("KeyLine", offset=(2, 0))
        await until(pilot, lambda: app.chat.bar.prompt.has_focus)


async def test_a_link_is_shown_before_it_is_opened(
    copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    app = chat_app(conversation=talk("Link?", "[bank](https://example.com/x) [bad](vscode://y)"))
    monkeypatch.setattr(app, "open_url", lambda url, new_tab=True: opened.append(url))
    async with running(app) as pilot:
        await app.ask_about_link("https://example.com/x")
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.press("c")
        await until(pilot, lambda: copied == ["https://example.com/x"])
        await app.ask_about_link("vscode://y")
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.press("o")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await pilot.click(Transcript, offset=place_of(app, "bank"))
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.press("o")
        await until(pilot, lambda: opened == ["https://example.com/x"])


async def test_selected_text_is_copied_first(copied: list[str]) -> None:
    app = chat_app(conversation=talk("Some words to select", "Answer"))
    async with running(app) as pilot:
        chat_of(pilot).bar.prompt.insert("draft to copy")
        chat_of(pilot).bar.prompt.select_all()
        await pilot.press("ctrl+c")
        await until(pilot, lambda: copied == ["draft to copy"])
        assert app.chat.bar.draft.text == "draft to copy"


async def test_what_is_said_about_a_message_stands_beside_it() -> None:
    app = chat_app(conversation=talk("One", "Two", "Three", "Four"))
    async with running(app) as pilot:
        transcript = app.chat.transcript
        await pilot.press("escape", "g")
        await until(pilot, lambda: transcript.selected == transcript.path[0].id)
        await pilot.press("p")
        await until(pilot, lambda: "pinned" in words(app, 0))
        assert not struck(app)
        await pilot.press("x")
        await until(pilot, lambda: "not sent" in " ".join(words(app, 0)))
        await until(pilot, lambda: {"One", "Two"} <= set(struck(app)))
        assert {"One", "Two"} <= set(dimmed(app)) and "Three" not in struck(app)
        await pilot.press("j", "plus")
        await until(pilot, lambda: app.session.messages()[1].marks.rating == 1)
        await pilot.press("minus")
        await until(pilot, lambda: "−" in words(app, 1))
        await pilot.press("z", "z", "z", "z")
        await until(pilot, lambda: not any(m.marks for m in app.session.messages()))
        await pilot.press("Z")
        await until(pilot, lambda: app.session.messages()[0].marks.pinned)


async def test_a_fork_is_a_chat_of_its_own() -> None:
    app = chat_app(conversation=talk("One", "Two", "Three", "Four"))
    async with running(app) as pilot:
        before = app.session.conversation.id
        await pilot.press("escape", "g", "j", "f")
        await until(pilot, lambda: app.session.conversation.id != before)
        assert [m.text for m in app.session.messages()] == ["One", "Two"]


async def test_a_draft_comes_back_with_its_chat() -> None:
    chat = talk("One", "Two")
    chat.working["draft"] = "and then?"
    app = chat_app(conversation=chat)
    async with running(app) as pilot:
        await until(pilot, lambda: app.chat.bar.draft.text == "and then?")
        await pilot.press("!")
        await until(pilot, lambda: chat.working["draft"] == "and then?!")
        app.session.new_chat()
        await until(pilot, lambda: app.session.conversation is not chat)
        assert app.chat.bar.draft.text == "and then?!"


async def test_what_is_said_about_the_whole_chat() -> None:
    app = chat_app(conversation=talk("One", "Two"))
    async with running(app) as pilot:

        def details() -> ChatDetails:
            return app.session.conversation.details

        for typed in ("/tag work #Rivers", "/tag -work", "/archive", "/datause off"):
            app.chat.bar.prompt.insert(typed)
            await pilot.press("enter")
            await until(pilot, lambda: not app.chat.bar.draft)
        await until(pilot, lambda: not details().allow_data_use)
        assert details() == ChatDetails(("rivers",), archived=True, allow_data_use=False)
        app.chat.bar.prompt.insert("/title Boats on rivers")
        await pilot.press("enter")
        await until(pilot, lambda: app.session.conversation.title == "Boats on rivers")
        app.chat.bar.prompt.insert("/datause maybe")
        await pilot.press("enter")
        app.chat.bar.prompt.insert("/title And on lakes")
        await pilot.press("enter")
        await until(pilot, lambda: app.session.conversation.title == "And on lakes")
        assert not details().allow_data_use
