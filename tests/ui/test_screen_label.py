"""The label form: answers by single keys, kept when a message is left."""

from __future__ import annotations

from textual.pilot import Pilot

from tests.ui import chat_app as chats
from tests.ui.branching import add, branched, long_chat
from tests.ui.piece_app import until
from tests.ui.stage import Stage, session_for_tests
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.marks import LABELS, OF_REPLIES, Marks, Report
from tui_chat.ui.screens.dialogs import InputScreen
from tui_chat.ui.screens.label import LabelScreen, messages_to_label
from tui_chat.ui.screens.label_fields import Answers, fields_for
from tui_chat.ui.screens.label_form import LabelForm


async def opened(
    pilot: Pilot[None], app: Stage, chat: Conversation, place: int
) -> tuple[LabelScreen, LabelForm]:
    """The form for a message of the active path."""
    app.session.open_chat(chat)
    message = app.session.messages()[place]
    screen = LabelScreen(app.session, messages_to_label(chat, message), message.id)
    await app.show(screen, pilot)
    return screen, screen.query_one(LabelForm)


async def test_a_reply_is_labelled_with_a_key_for_each_field() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        chat = branched()
        _, form = await opened(pilot, app, chat, 1)
        first = app.session.messages()[1].id
        await pilot.press("n", "y", *"nnnnnnn", *"413452")
        await until(pilot, lambda: form.asked is not None and form.asked.kind == "report")
        await pilot.press("enter")
        await until(pilot, lambda: bool(chat[first].marks.labels))
        labels = chat[first].marks.labels
        assert set(labels) == set(LABELS)
        assert labels["spam"] == 0 and labels["fails_task"] == 1
        scales = [labels[name] for name, kind in LABELS.items() if kind == "scale"]
        assert scales == [0.75, 0.0, 0.5, 0.75, 1.0, 0.25]
        assert chat[first].marks.rating == 1, "what else is marked stays"
        app.session.undo()
        assert not chat[first].marks.labels, "it was one step"


async def test_twenty_replies_take_a_few_keys_each() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        chat = long_chat(40)
        screen, _ = await opened(pilot, app, chat, 1)
        for _ in range(20):
            await pilot.press("N", *"413431", "enter")
        await until(pilot, lambda: app.results == [20])
        replies = [m for m in chat.messages() if m.role == "assistant"]
        assert all(len(m.marks.labels) == len(LABELS) for m in replies)
        assert screen.index == 19


async def test_what_is_not_answered_is_not_written_down() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        chat = branched()
        await opened(pilot, app, chat, 1)
        await pilot.press("enter", "enter", "shift+tab", "escape")
        await until(pilot, lambda: app.results == [0])
        assert not chat.undo_label
        assert all(not m.marks.labels for m in chat.messages())


async def test_stepping_back_keeps_the_labels() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        chat = branched()
        await opened(pilot, app, chat, 1)
        await pilot.press("y", "escape")
        await until(pilot, lambda: app.results == [1])
        assert app.session.messages()[1].marks.labels == {"spam": 1.0}
        assert app.session.undo() == "Labels"


async def test_values_are_changed_and_taken_away() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(60, 24)) as pilot:
        _, form = await opened(pilot, app, branched(), 1)
        await pilot.press("space")
        await until(pilot, lambda: form.answers.labels == {"spam": 1.0})
        await pilot.press("space")
        await until(pilot, lambda: form.answers.labels == {"spam": 0.0})
        await pilot.press("right")
        await until(pilot, lambda: form.answers.labels == {"spam": 1.0})
        await pilot.press("backspace")
        await until(pilot, lambda: form.answers.labels == {})
        form.highlighted = 9
        await pilot.press("right")
        await until(pilot, lambda: form.answers.labels == {"quality": 0.5})
        await pilot.press("right", "right", "right")
        await until(pilot, lambda: form.answers.labels == {"quality": 1.0})
        await pilot.press("left")
        await until(pilot, lambda: form.answers.labels == {"quality": 0.75})
        await pilot.press("z")
        await until(pilot, lambda: form.answers == Answers())


async def test_a_report_with_its_reason() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(100, 30)) as pilot:
        chat = branched()
        screen, form = await opened(pilot, app, chat, 1)
        await pilot.press("r", "2", "space")
        await until(pilot, lambda: isinstance(app.screen, InputScreen))
        await pilot.press(*"it is rude", "enter")
        await until(pilot, lambda: app.screen is screen)
        await until(pilot, lambda: form.answers.reason == "it is rude")
        assert "[offensive]" in app.shown() and "it is rude" in app.shown()
        await pilot.press("enter")
        message = app.session.messages()[1]
        await until(
            pilot, lambda: chat[message.id].marks.reports == (Report("offensive", "it is rude"),)
        )


async def test_prompts_have_fewer_labels() -> None:
    chat = branched()
    prompt, reply = chat.path()[:2]
    names = {f.name for f in fields_for(reply)} - {f.name for f in fields_for(prompt)}
    assert names == OF_REPLIES
    assert [chat[i].role for i in messages_to_label(chat, prompt)] == ["user"] * 3
    assert len(messages_to_label(chat, reply)) == 6, "with all versions of the replies"


async def test_the_form_fits_a_small_terminal() -> None:
    app = Stage(session=session_for_tests())
    async with app.run_test(size=(40, 12)) as pilot:
        chat = branched()
        add(chat, chat.leaf_id, "漢字 " * 100)
        _, form = await opened(pilot, app, chat, 1)
        for index in range(len(form.fields)):
            title = form.fields[index].title
            await until(pilot, lambda title=title: f"› {title}" in app.shown())
            await pilot.press("down")


def test_reports_of_others_and_unknown_labels_stay() -> None:
    marks = Marks(
        labels={"spam": 0.0, "mine": 0.3, "quality": 0.6},
        reports=(Report("spam", "old"), Report("legal", "theirs")),
    )
    answers = Answers.of(marks)
    assert answers.applied_to(marks) == marks
    spam, quality = (f for f in fields_for(branched().path()[1]) if f.name in ("spam", "quality"))
    assert (answers.chosen(spam), answers.chosen(quality)) == (0, 2)
    changed = answers.with_chosen(spam, None).with_reason("new").applied_to(marks)
    assert changed.labels == {"mine": 0.3, "quality": 0.6}
    assert changed.reports == (Report("spam", "new"), Report("legal", "theirs"))
    assert answers.with_reason("").with_chosen(fields_for(branched().path()[1])[-2], None)\
        .applied_to(marks).reports == (Report("legal", "theirs"),)  # fmt: skip
    assert Answers().with_reason("why").report == "feedback"


async def test_the_chat_says_how_many_are_labelled() -> None:
    app = chats.chat_app(conversation=branched())
    async with chats.running(app) as pilot:
        await pilot.press("escape", "g", "j", "l")
        await chats.until(pilot, lambda: isinstance(app.screen, LabelScreen))
        await pilot.press("y", "tab", "n", "escape")
        await chats.until(pilot, lambda: app.screen is app.chat)
        await chats.until(
            pilot, lambda: any("2 messages labelled" in n.message for n in app.toasts.present)
        )
