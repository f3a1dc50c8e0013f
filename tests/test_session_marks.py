"""What the user says about messages: it is saved, can be undone, and decides what is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_session import Run, running, wait_until
from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.marks import Marks
from tui_chat.chat.prompt import PromptComposer
from tui_chat.chat.templates import template_named
from tui_chat.engine.contract.scripted import Script, WordEncoder
from tui_chat.errors import ContextError
from tui_chat.session.reply import left_out, sendable
from tui_chat.storage.database.reading import read_transcripts


def sent(run: Run, number: int = -1) -> str:
    return run.backend._encoder.decode(run.backend.requests[number].ids)


def test_a_rating_is_taken_back_by_the_same_again_and_undone():
    with running() as run:
        run.ready()
        run.say("One")
        reply = run.session.messages()[1].id
        assert run.session.rate(reply, 1) == 1
        assert run.session.rate(reply, -1) == -1
        assert run.session.rate(reply, -1) == 0
        assert [run.session.undo() for _ in range(2)] == ["Rate", "Rate"]
        assert run.session.message(reply).marks.rating == 1
        assert run.session.redo() == "Rate"
        assert run.session.message(reply).marks.rating == -1


def test_marks_and_their_undo_survive_a_restart(tmp_path: Path):
    database = tmp_path / "t.db"
    with running(database=database) as run:
        run.ready()
        run.say("One")
        first, reply = (m.id for m in run.session.messages())
        run.session.pin(first)
        run.session.rate(reply, 1)
        run.session.name_branch(reply, "the good one")
        run.session.set_details(tags=("rivers",))
        chat_id = run.session.conversation.id
    with read_transcripts(database) as reader:
        chat = reader.load(chat_id)
    assert chat[first].marks.pinned
    assert (chat[reply].marks.rating, chat[reply].marks.branch) == (1, "the good one")
    assert chat.details.tags == ("rivers",)
    with running(database=database) as run:
        run.session.open_chat(chat)
        run.ready()
        assert [run.session.undo() for _ in range(3)] == ["Name", "Rate", "Pin"]
        assert run.session.redo() == "Pin"


def test_what_is_excluded_is_not_sent_and_neither_is_its_reply():
    with running(Script(replies=("first answer", "second answer", "third answer"))) as run:
        run.ready()
        run.say("One")
        run.say("Two")
        assert run.session.exclude(run.session.messages()[0].id)
        run.say("Three")
        assert "One" not in sent(run) and "first" not in sent(run)
        assert "Two" in sent(run) and "second" in sent(run)
        assert not run.session.exclude(run.session.messages()[0].id)
        run.say("Four")
        assert "first" in sent(run)


def test_excluding_a_reply_leaves_out_its_question():
    chat = Conversation()
    for number in range(3):
        chat.append("user", f"Q{number}")
        chat.append("assistant", f"A{number}")
    chat.mark("Exclude", {chat.path()[1].id: Marks(excluded=True)})
    assert [m.text for m in sendable(chat.path())] == ["Q1", "A1", "Q2", "A2"]
    assert left_out(chat.path()) == {m.id for m in chat.path()[:2]}
    chat.mark("Exclude", {chat.path()[4].id: Marks(excluded=True)})
    assert [m.text for m in sendable(chat.path())] == ["Q1", "A1"]
    assert left_out(chat.path()) == {m.id for m in (*chat.path()[:2], *chat.path()[4:])}
    user = chat.append("user", "Q3")
    chat.mark("Exclude", {user.id: Marks(excluded=True)})
    assert sendable(chat.path())[-1].text == "Q3"
    reply = chat.append("assistant", "", status="waiting")
    assert sendable(chat.path())[-1].text == "Q3"
    chat.update(reply.id, text="A3")
    assert sendable(chat.path())[-1].text == "A1"
    assert sendable(chat.path(), keep_last=True)[-1].text == "A3"


def test_the_model_sees_a_fork_up_to_its_message(tmp_path: Path):
    with running(database=tmp_path / "t.db") as run:
        run.ready()
        run.say("One")
        run.say("Two")
        old = run.session.conversation
        copy = run.session.fork(run.session.messages()[1].id)
        assert run.session.conversation is copy and copy.id != old.id
        assert run.texts()[0] == "One" and len(run.texts()) == 2
        assert not {m.id for m in copy.messages()} & {m.id for m in old.messages()}
        run.say("Three")
        assert "Two" not in sent(run)
        wait_until(lambda: run.session.chats())
        assert {chat.id for chat in run.session.chats()} == {old.id, copy.id}


def test_going_to_another_branch_can_be_undone():
    with running(Script(replies=("first", "second"))) as run:
        run.ready()
        run.say("One")
        first = run.session.messages()[1].id
        run.session.regenerate()
        run.idle()
        assert run.texts()[1] == "second"
        assert run.session.go_to(first)
        assert not run.session.go_to(first)
        assert run.texts()[1] == "first"
        assert run.session.undo() == "Go to"
        assert run.texts()[1] == "second"


def long_chat(turns: int, pinned: tuple[int, ...] = ()) -> list[Message]:
    chat = Conversation()
    for number in range(turns):
        user = chat.append("user", f"question {number} " + "word " * 18)
        chat.append("assistant", f"answer {number} " + "word " * 18)
        if number in pinned:
            chat.mark("Pin", {user.id: Marks(pinned=True)})
    chat.append("user", "last question")
    return chat.path()


def composer(context: int = 300) -> PromptComposer:
    return PromptComposer(template_named("oasst"), WordEncoder(), context, 40)


def test_a_pinned_turn_is_sent_in_its_place_however_long_the_chat_is():
    compose = composer()
    path = long_chat(20, pinned=(2, 9))
    prompt = compose.compose(path)
    text = compose.encoder.decode(prompt.ids)
    assert 0 < text.index("question 2 ") < text.index("answer 2 ") < text.index("question 9 ")
    assert "question 3 " not in text and text.index("question 19 ") > text.index("question 9 ")
    assert len(prompt.ids) <= prompt.fit.limit
    assert {m.id for m in path[4:6]}.isdisjoint(m.id for m in prompt.dropped)


def test_the_meter_counts_what_is_pinned():
    for turns in (3, 20):
        compose = composer()
        path = long_chat(turns, pinned=(0,))[:-1]
        view = compose.view(path, "Be brief.", "last question")
        chat = [*path, Message("x", path[-1].id, "user", "last question", path[0].created)]
        assert view.prompt_tokens == len(compose.compose(chat, "Be brief.").ids)
        total = view.system + view.history + view.draft + view.reserve + view.free
        assert total == view.context


def test_too_much_pinned_is_said():
    with pytest.raises(ContextError, match="pin less"):
        composer(300).compose(long_chat(20, pinned=tuple(range(10))))


def test_a_draft_and_the_parameters_come_back_with_their_chat(tmp_path: Path):
    database = tmp_path / "t.db"
    with running(database=database) as run:
        run.ready()
        run.say("One")
        run.session.apply_preset("k50-precise")
        run.session.set_param("top_k", 7)
        run.session.keep_draft("What I was about to\nask")
        chat_id = run.session.conversation.id
    with read_transcripts(database) as reader:
        chat = reader.load(chat_id)
    assert chat.working == {
        "preset": "k50-precise",
        "values": {"top_k": 7},
        "draft": "What I was about to\nask",
    }


def test_parameters_chosen_before_the_chat_began_are_kept_with_it(tmp_path: Path):
    database = tmp_path / "t.db"
    with running(database=database) as run:
        run.ready()
        run.say("One")
        usual = run.session.conversation.id
        run.session.set_param("temperature", 1.5)
        run.session.new_chat()
        run.say("Two")
        chosen = run.session.conversation.id
    with read_transcripts(database) as reader:
        assert reader.load(chosen).working["values"] == {"temperature": 1.5}
        # changed after its last message, as its panel said
        assert reader.load(usual).working["values"] == {"temperature": 1.5}


def test_a_chat_with_what_is_usual_keeps_no_parameters(tmp_path: Path):
    database = tmp_path / "t.db"
    with running(database=database) as run:
        run.ready()
        run.say("One")
        chat_id = run.session.conversation.id
    with read_transcripts(database) as reader:
        assert "values" not in reader.load(chat_id).working


def test_where_a_chat_was_read_comes_back_with_it(tmp_path: Path):
    database = tmp_path / "t.db"
    with running(database=database) as run:
        run.ready()
        run.say("One")
        run.say("Two")
        second = run.session.messages()[2].id
        assert run.session.place is None
        run.session.keep_place((second, 3))
        run.session.keep_place(("gone", 1))  # of another chat, which was left meanwhile
        chat_id = run.session.conversation.id
    with running(database=database) as run:
        run.session.open_chat(run.session.load_chat(chat_id))
        assert run.session.place == (second, 3)
        run.session.keep_place(None)
    with read_transcripts(database) as reader:
        assert "place" not in reader.load(chat_id).working


def test_a_chosen_model_is_that_of_its_chat_at_once(tmp_path: Path):
    database = tmp_path / "t.db"
    with running(database=database) as run:
        run.ready()
        run.say("One")
        run.session.switch_model("oasst-12b", "4bit")
        wait_until(lambda: run.session.wanted.model == "oasst-12b")
        chat_id = run.session.conversation.id
    with read_transcripts(database) as reader:
        assert reader.load(chat_id).model == "oasst-12b"
