"""Notes that stand for turns: how they are asked for, written, sent, changed and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_session import SLOW, Run, running, wait_until
from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.events import Delta, Failed, Finished
from tui_chat.chat.marks import Marks
from tui_chat.engine.contract.scripted import Script
from tui_chat.errors import BusyError, ContextError
from tui_chat.session import EngineUpdate
from tui_chat.storage.database.reading import read_transcripts

NOTE = "We spoke of rivers."
LONG = "word " * 18


def sent(run: Run, number: int = -1) -> str:
    return run.backend._encoder.decode(run.backend.requests[number].ids)


def long_chat(turns: int, words: str = LONG) -> Conversation:
    chat = Conversation()
    for number in range(turns):
        chat.append("user", f"question {number} {words}")
        chat.append("assistant", f"answer {number} {words}")
    return chat


def notes(run: Run) -> list[Message]:
    return [m for m in run.session.messages() if m.is_note]


def test_what_is_above_the_forget_line_is_summed_up_and_the_note_is_sent_instead():
    with running(Script(replies=(NOTE, "Fine."), context=600, reserve=60)) as run:
        run.session.open_chat(long_chat(12))
        run.ready()
        before = run.session.context_view("")
        assert before.dropped_turns > 0 and before.noted_turns == 0
        saved = list(run.session.conversation.messages())
        assert run.session.compact() == before.dropped_turns
        run.idle()
        asked = sent(run)
        assert "question 0" in asked and "Sum up our conversation" in asked
        assert f"question {before.dropped_turns} " not in asked
        (note,) = notes(run)
        assert note.text == NOTE and note.model == "guide" and note.stats["completion_tokens"] == 4
        path = run.session.messages()
        assert path[path.index(note) + 1].id == before.first_kept_id
        assert [m.text for m in run.session.conversation.messages()] == [m.text for m in saved]
        after = run.session.context_view("")
        assert after.dropped_turns == after.noted_turns == before.dropped_turns
        assert after.dropped_tokens == before.dropped_tokens
        assert after.history > before.history and after.first_kept_id == before.first_kept_id
        total = after.system + after.history + after.draft + after.reserve + after.free
        assert total == after.context
        run.say("And now?")
        text = sent(run)
        assert text.startswith("<|system|>") and NOTE in text.split("<|prompter|>")[0]
        assert "question 0" not in text and f"question {before.dropped_turns} " in text


def test_the_meter_counts_the_note_as_it_is_sent():
    with running(Script(replies=(NOTE, "Fine."), context=600, reserve=60)) as run:
        run.session.open_chat(long_chat(5))
        run.session.set_system("Be brief.")
        run.ready()
        run.session.compact(2)
        run.idle()
        view = run.session.context_view("And now?")
        run.say("And now?")
        assert view.prompt_tokens == len(run.backend.requests[-1].ids)
        assert "Be brief." in sent(run) and NOTE in sent(run)


def test_a_number_keeps_the_newest_turns():
    with running(Script(replies=(NOTE,))) as run:
        run.session.open_chat(long_chat(6))
        run.ready()
        with pytest.raises(ContextError, match="every turn is still sent") as refusal:
            run.session.compact()
        assert "such as 4" in refusal.value.hint and refusal.value.remedy == "compact"
        with pytest.raises(ContextError, match="There are 6 turns, and the newest 6"):
            run.session.compact(6)
        assert run.session.compact(4) == 2
        run.idle()
        assert run.session.context_view("").noted_turns == 2
        with pytest.raises(ContextError, match="There are 4 turns after the note"):
            run.session.compact(4)
        with pytest.raises(ContextError, match="a note stands for the others already"):
            run.session.compact()
        prompt = run.session.prompt()
        assert prompt.dropped_turns == prompt.noted_turns == 2
        assert [m.text.split()[1] for m in prompt.dropped] == ["0", "0", "1", "1"]


def test_an_empty_chat_and_a_model_that_loads_are_told():
    with running(Script(load_s=0.05)) as run:
        run.session.open_chat(long_chat(3))
        run.session.start()
        with pytest.raises(BusyError, match="not loaded yet"):
            run.session.compact(1)
        run.session.new_chat()
        with pytest.raises(ContextError, match="no message yet"):
            run.session.compact(1)


def test_many_turns_are_summed_up_in_parts_each_with_the_summary_before_it():
    replies = ("First part.", "Second part.", "Third part.", "All of it.")
    with running(Script(replies=replies, context=260, reserve=30)) as run:
        run.session.open_chat(long_chat(12))
        run.ready()
        run.session.compact(1)
        run.idle()
        asked = [sent(run, i) for i in range(len(run.backend.requests))]
        assert len(asked) > 2
        for number in range(11):
            assert sum(f"question {number} " in text for text in asked) == 1
        for before, text in zip(replies, asked[1:], strict=False):
            assert before in text
        (note,) = notes(run)
        assert note.text == run.backend.script.replies[(len(asked) - 1) % 4]
        assert all(len(r.ids) + 30 <= 260 for r in run.backend.requests)
        ends = run.engine(Finished, Failed)
        assert len(ends) == 1


def test_of_a_turn_that_is_too_long_by_itself_the_beginning_is_summed_up():
    with running(Script(replies=(NOTE,), context=200, reserve=30)) as run:
        chat = long_chat(1, "word " * 400)
        chat.append("user", "Short?")
        chat.append("assistant", "Yes.")
        run.session.open_chat(chat)
        run.ready()
        run.session.compact(1)
        run.idle()
        assert notes(run)[0].text == NOTE
        assert "question 0" in sent(run) and "answer 0" in sent(run) and "…" in sent(run)


def test_a_note_is_folded_into_the_next_one_and_comes_back_when_that_is_removed():
    with running(Script(replies=("Note one.", "Note two."))) as run:
        run.session.open_chat(long_chat(6))
        run.ready()
        run.session.compact(4)
        run.idle()
        run.session.compact(2)
        run.idle()
        assert "Note one." in sent(run) and "question 1 " not in sent(run)
        (note,) = notes(run)
        assert note.text == "Note two." and run.session.context_view("").noted_turns == 4
        assert run.session.delete(note.id)
        (note,) = notes(run)
        assert note.text == "Note one." and run.session.context_view("").noted_turns == 2
        assert run.session.delete(note.id) and notes(run) == []
        assert run.session.context_view("").dropped_turns == 0
        assert [run.session.undo() for _ in range(4)] == [
            "Remove note", "Remove note", "Compact", "Compact",
        ]  # fmt: skip
        assert notes(run) == []
        assert run.session.redo() == "Compact" and notes(run)[0].text == "Note one."


def test_pinned_turns_are_sent_as_they_are_and_excluded_ones_not_summed_up():
    with running(Script(replies=(NOTE,))) as run:
        chat = long_chat(6)
        path = chat.path()
        chat.mark("Pin", {path[2].id: Marks(pinned=True)})
        chat.mark("Exclude", {path[4].id: Marks(excluded=True)})
        run.session.open_chat(chat)
        run.ready()
        assert run.session.compact(2) == 2  # of the first four, one is pinned, one excluded
        run.idle()
        asked = sent(run)
        assert "question 0 " in asked and "question 3 " in asked
        assert "question 1 " not in asked and "question 2 " not in asked
        run.say("And now?")
        text = sent(run)
        assert text.index(NOTE) < text.index("question 1 ") < text.index("question 4 ")
        assert "question 2 " not in text and "question 0 " not in text


def test_the_note_stays_when_the_message_it_is_on_is_excluded():
    with running(Script(replies=(NOTE, "Fine."))) as run:
        run.session.open_chat(long_chat(4))
        run.ready()
        run.session.compact(2)
        run.idle()
        on = notes(run)[0].note_on
        assert on is not None and run.session.exclude(on)
        run.say("And now?")
        assert NOTE in sent(run) and "question 1 " not in sent(run)


def test_a_note_belongs_to_the_branch_it_was_made_on():
    replies = ("one", "two", "three", NOTE, "other two", "after")
    with running(Script(replies=replies)) as run:
        run.ready()
        for text in ("Q1", "Q2", "Q3"):
            run.say(text)
        session = run.session
        session.compact(1)
        run.idle()
        second = session.messages()[3]
        assert second.text == "two" and notes(run)[0].note_on == second.id
        session.regenerate(second.id)
        run.idle()
        assert run.texts() == ["Q1", "one", "Q2", "other two"]
        assert notes(run) == [] and NOTE not in sent(run)
        run.say("Q4")
        assert "Q1" in sent(run) and "other two" in sent(run) and NOTE not in sent(run)
        session.flip(session.messages()[3].id, -1)
        assert run.texts() == ["Q1", "one", "Q2", "two", NOTE, "Q3", "three"]
        copy = session.fork(session.messages()[-1].id)
        assert [m.text for m in copy.path()][-1] == "three" and notes(run)[0].text == NOTE


def test_a_note_that_is_stopped_changes_nothing():
    with running(Script(**SLOW)) as run:
        run.session.open_chat(long_chat(4))
        run.ready()
        before, undo = run.session.messages(), run.session.conversation.undo_label
        run.session.compact(2)
        wait_until(lambda: len(run.engine(Delta)) > 5)
        (growing,) = notes(run)
        assert growing.status == "streaming" and run.session.is_busy
        wait_until(lambda: run.session.message(growing.id).text.startswith("one two"))
        with pytest.raises(BusyError):
            run.session.undo()
        assert run.session.cancel() == "note"
        run.idle()
        assert run.session.messages() == before
        assert run.session.conversation.undo_label == undo
        assert run.engine(Finished)[-1].reason == "cancelled"
        assert not run.session.is_here(growing.id)


def test_a_note_that_fails_changes_nothing_and_says_why():
    failures = {0: (2, Failed("oom", "Out of memory"))}
    with running(Script(replies=(NOTE,), failures=failures)) as run:
        run.session.open_chat(long_chat(4))
        run.ready()
        run.session.compact(2)
        run.idle()
        assert notes(run) == [] and run.engine(Failed)[0].title == "Out of memory"
        run.session.compact(2)
        run.idle()
        assert notes(run)[0].text == NOTE


def test_a_model_that_writes_nothing_leaves_no_note():
    with running(Script(replies=("",))) as run:
        run.session.open_chat(long_chat(4))
        run.ready()
        run.session.compact(2)
        run.idle()
        assert notes(run) == [] and "wrote no note" in run.engine(Failed)[0].title


def test_a_message_sent_meanwhile_waits_and_is_answered_with_the_note():
    with running(Script(replies=(NOTE, "Fine."), token_s=0.02)) as run:
        run.session.open_chat(long_chat(4))
        run.ready()
        run.session.compact(2)
        reply = run.session.send("And now?")
        assert run.session.conversation[reply.id].status == "waiting"
        run.idle()
        assert run.session.conversation[reply.id].text == "Fine."
        assert NOTE in sent(run) and "question 0" not in sent(run)


def test_another_chat_or_model_stops_the_note():
    with running(Script(**SLOW)) as run:
        chat = long_chat(4)
        run.session.open_chat(chat)
        run.ready()
        run.session.compact(2)
        wait_until(lambda: run.engine(Delta))
        run.session.new_chat()
        run.idle()
        assert not any(m.marks for m in chat.messages())
        run.session.open_chat(chat)
        run.session.compact(2)
        reply = run.session.send("And now?")
        run.session.switch_precision("fp32")
        wait_until(lambda: run.session.state == "decoding")
        assert notes(run) == [] and run.session.message(reply.id).status == "streaming"


def test_a_note_can_be_edited_and_that_be_undone():
    with running(Script(replies=(NOTE, "Fine."))) as run:
        run.session.open_chat(long_chat(4))
        run.ready()
        run.session.compact(2)
        run.idle()
        (note,) = notes(run)
        edited = run.session.edit(note.id, "We spoke of lakes.")
        assert edited.text == "We spoke of lakes." and edited.marks.edited
        run.say("And now?")
        assert "lakes" in sent(run) and "rivers" not in sent(run)
        with pytest.raises(ContextError, match="note was not changed"):
            run.session.edit(note.id, " ")
        assert run.session.undo() == "Edit" and notes(run)[0].text == NOTE


def test_a_note_survives_a_restart(tmp_path: Path):
    database = tmp_path / "t.db"
    with running(Script(replies=("one", "two", NOTE)), database) as run:
        run.ready()
        run.say("Q1")
        run.say("Q2")
        run.session.compact(1)
        run.idle()
        (written,) = notes(run)
        chat_id = run.session.conversation.id
    with read_transcripts(database) as reader:
        chat = reader.load(chat_id)
    with running(Script(replies=("three",)), database) as run:
        run.session.open_chat(chat)
        run.ready()
        assert notes(run) == [written]
        run.say("Q3")
        assert NOTE in sent(run) and "Q1" not in sent(run)
        assert run.session.undo() == "Compact" and notes(run) == []


def test_what_the_session_says_of_a_note_names_it():
    with running(Script(replies=(NOTE,))) as run:
        run.session.open_chat(long_chat(4))
        run.ready()
        run.session.compact(2)
        run.idle()
        (note,) = notes(run)
        told = [e for e in run.events if isinstance(e, EngineUpdate) and e.message_id == note.id]
        assert any(isinstance(e.event, Delta) for e in told)
        assert isinstance(told[-1].event, Finished) and told[-1].event.reason == "eos"
