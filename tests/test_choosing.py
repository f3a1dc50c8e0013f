"""The best of several: candidates are saved as they come, one is chosen, and that is remembered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests import test_session
from tests.test_session import SLOW, Run, wait_until
from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.events import Delta, Failed, Finished, Prefill
from tui_chat.chat.marks import Preference
from tui_chat.engine.contract.scripted import Script
from tui_chat.errors import BusyError, ContextError, ParameterError
from tui_chat.session import EngineUpdate, RequestFailed
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.formats.table import FORMATS

THREE = ("One way.", "Another way.", "A third way.")
OOM = Failed("oom", "The device ran out of memory")


@contextmanager
def running(
    script: Script | None = None, database: Path | None = None, **overrides: object
) -> Iterator[Run]:
    """A session that samples; the built-in model does not by itself."""
    values = {"temperature": 0.8, **overrides}
    with test_session.running(script, database, overrides=values) as run:
        yield run


def texts(run: Run, candidates: list[Message]) -> list[str]:
    return [run.session.message(m.id).text for m in candidates]


def written(run: Run) -> set[str | None]:
    """The messages that text has arrived for."""
    return {
        e.message_id for e in run.events if isinstance(e, EngineUpdate) and type(e.event) is Delta
    }


def exported(chat: Conversation) -> list[tuple[str, str]]:
    """The pairs of an export of preferences, the better one first."""
    rows = [json.loads(line) for line in FORMATS["preferences"].export(chat).splitlines()]
    return [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows]


def test_a_new_message_gets_several_replies_beside_each_other():
    with running(Script(replies=THREE)) as run:
        run.ready()
        candidates = run.session.best_of(3, "How?")
        run.idle()
        assert texts(run, candidates) == list(THREE)
        assert run.texts() == ["How?", "One way."]
        assert run.session.versions(candidates[1].id) == (2, 3)
        assert run.session.conversation.title == "How?"
        ids = [request.ids for request in run.backend.requests]
        assert ids[0] == ids[1] == ids[2]
        seeds = {run.session.message(m.id).seed for m in candidates}
        assert len(seeds) == 3, "each has its own random numbers"
        assert len(run.engine(Finished, Failed)) == 3
        assert run.session.state == "ready"


def test_without_a_text_the_last_message_is_answered_again():
    with running(Script(replies=("First.", *THREE))) as run:
        run.ready()
        run.say("How?")
        before = run.session.messages()[-1].id
        candidates = run.session.best_of(3)
        run.idle()
        assert run.session.versions(candidates[0].id) == (2, 4)
        assert run.texts() == ["How?", "One way."]
        assert run.session.undo() == "Best of 3", "all of it is one step"
        assert run.session.messages()[-1].id == before


def test_a_wanted_seed_is_the_first_of_those_that_follow_it():
    with running(Script(replies=THREE), seed=2**64 - 2) as run:
        run.ready()
        run.session.best_of(3, "How?")
        run.idle()
        assert [r.seed for r in run.backend.requests] == [2**64 - 2, 2**64 - 1, 0]


@pytest.mark.parametrize("together", [True, False])
def test_choosing_shows_one_and_remembers_it_as_one_step(together: bool):
    with running(Script(replies=THREE, side_by_side=together)) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(3, "How?")]
        run.idle()
        assert run.session.choose(ids[1], [ids[0], ids[2]]) == "preferred"
        assert run.texts() == ["How?", "Another way."]
        chat = run.session.conversation
        assert chat.details.preferences == (Preference(ids[1], (ids[0], ids[2])),)
        pairs = {("Another way.", "One way."), ("Another way.", "A third way.")}
        assert set(exported(chat)) == pairs
        assert run.session.undo() == "Choice"
        assert run.texts() == ["How?", "One way."] and not chat.details.preferences
        assert run.session.redo() == "Choice"
        assert run.texts() == ["How?", "Another way."] and set(exported(chat)) == pairs
        run.say("Go on.")
        assert run.texts()[:3] == ["How?", "Another way.", "Go on."]


def test_another_choice_of_the_same_candidates_takes_the_place_of_the_first():
    with running(Script(replies=THREE)) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(3, "How?")]
        run.idle()
        run.session.choose(ids[0], ids[1:])
        run.session.choose(ids[2], ids[:2])
        chat = run.session.conversation
        assert [p.chosen for p in chat.details.preferences] == [ids[2]]
        run.session.undo()
        assert [p.chosen for p in chat.details.preferences] == [ids[0]]


def test_choice_and_its_undo_survive_a_restart(tmp_path: Path):
    database = tmp_path / "t.db"
    with running(Script(replies=THREE), database) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(3, "How?")]
        run.idle()
        run.session.choose(ids[1], [ids[0], ids[2]])
        chat_id = run.session.conversation.id
    with read_transcripts(database) as reader:
        chat = reader.load(chat_id)
    assert {m.text for m in chat.siblings(ids[0])} == set(THREE)
    assert chat.leaf_id == ids[1] and len(exported(chat)) == 2
    with running(database=database) as run:
        run.session.open_chat(chat)
        run.ready()
        assert run.session.undo() == "Choice"
        assert not run.session.conversation.details.preferences
        assert run.session.redo() == "Choice"
        assert len(exported(run.session.conversation)) == 2


def test_all_candidates_are_on_the_disk_while_they_are_written(tmp_path: Path):
    """As for a single reply: what a crash leaves, the next start calls interrupted."""
    database = tmp_path / "t.db"
    with running(Script(**SLOW), database) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(3, "Count")]
        chat_id = run.session.conversation.id

        def saved() -> list[Message]:
            with read_transcripts(database) as reader:
                chat = reader.load(chat_id)
            return [chat[i] for i in ids]

        wait_until(lambda: run.engine(Delta))
        assert {m.status for m in saved()} == {"streaming"}, "before the first token"
        wait_until(lambda: all(m.text.startswith("one") for m in saved()))
        assert {m.status for m in saved()} == {"streaming"}


def test_stopping_one_leaves_the_others_and_stopping_all_keeps_every_text():
    with running(Script(**SLOW)) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(3, "Count")]
        wait_until(lambda: written(run) == set(ids))
        run.session.stop_reply(ids[1])
        wait_until(lambda: run.session.message(ids[1]).status == "stopped")
        assert run.session.is_busy and run.session.state == "decoding"
        seen = len(run.engine(Delta))
        wait_until(lambda: len(run.engine(Delta)) > seen + 5)
        assert run.session.cancel() == "reply"
        run.idle()
        assert {run.session.message(i).status for i in ids} == {"stopped"}
        assert all(run.session.message(i).text.startswith("one") for i in ids)


def test_choosing_while_they_are_written_stops_the_others_and_lets_it_go_on():
    with running(Script(**SLOW)) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(3, "Count")]
        wait_until(lambda: written(run) == set(ids))
        assert run.session.choose(ids[2], ids[:2]) == "preferred"
        wait_until(lambda: {run.session.message(i).status for i in ids[:2]} == {"stopped"})
        seen = len(run.session.message(ids[2]).text)
        wait_until(lambda: len(run.session.message(ids[2]).text) > seen)
        assert run.session.messages()[-1].id == ids[2]
        run.session.cancel()
        run.idle()
        assert not exported(run.session.conversation), "a stopped reply was not the worse one"


def test_one_that_failed_is_not_what_another_was_preferred_to():
    with running(Script(replies=THREE, failures={1: (1, OOM)})) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(3, "How?")]
        run.idle()
        assert run.session.message(ids[1]).status == "failed"
        run.session.choose(ids[0], ids[1:])
        assert run.session.conversation.details.preferences == (Preference(ids[0], (ids[2],)),)


def test_where_there_is_nothing_to_prefer_it_to_it_is_only_shown():
    with running(Script(replies=THREE, failures={0: (0, OOM)})) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(2, "How?")]
        run.idle()
        assert run.session.choose(ids[1], ids[:1]) == "shown"
        assert run.texts() == ["How?", "Another way."]
        assert not run.session.conversation.details.preferences
        with pytest.raises(ContextError, match="no text"):
            run.session.choose(ids[0], ids[1:])


def test_without_a_choice_everything_stays_and_nothing_is_remembered():
    with running(Script(replies=THREE)) as run:
        run.ready()
        candidates = run.session.best_of(3, "How?")
        run.idle()
        run.say("Go on.")
        assert texts(run, candidates) == list(THREE)
        assert not run.session.conversation.details.preferences


def test_candidates_wait_for_the_model_and_are_queued_behind_another_one():
    with running(Script(replies=THREE, load_s=0.02)) as run:
        run.session.start()
        candidates = run.session.best_of(3, "Early")
        assert {m.status for m in candidates} == {"waiting"}
        run.session.switch_model("oasst-12b", "8bit")
        run.idle()
        assert texts(run, candidates) == list(THREE)
        assert {run.session.message(m.id).model for m in candidates} == {"oasst-12b"}
        assert len(run.engine(Finished, Failed)) == 3
        assert len(run.engine(Prefill)) == 9, "each was begun once"


def test_candidates_that_wait_are_taken_back_together():
    with running(Script(replies=THREE, load_s=0.05)) as run:
        run.session.start()
        run.session.best_of(3, "Early")
        assert run.session.cancel() == "waiting"
        run.idle()
        failed = [e for e in run.events if isinstance(e, RequestFailed)]
        assert [e.failure.code for e in failed] == ["cancelled"] * 3
        assert [run.session.take_back(e.reply_id) for e in failed] == ["", "", "Early"]
        assert run.texts() == []


def test_the_next_turn_reuses_the_prompt():
    with running(Script(replies=THREE)) as run:
        run.ready()
        ids = [m.id for m in run.session.best_of(3, "How is that done, please?")]
        run.idle()
        run.session.choose(ids[2], ids[:2])
        run.say("And then?")
        assert run.session.last_stats.reused_tokens >= 7


# What is refused


@pytest.mark.parametrize("values", [{"temperature": 0}, {"top_k": 1}])
def test_candidates_that_would_all_be_the_same_are_refused(values: dict[str, float]):
    with running(**values) as run:
        run.ready()
        with pytest.raises(ParameterError, match="would be the same") as error:
            run.session.best_of(3, "How?")
        assert error.value.remedy == "parameters"
        assert run.texts() == [] and not run.session.is_busy


@pytest.mark.parametrize("count", [-1, 0, 1, 9, 1000])
def test_there_are_two_to_eight(count: int):
    with running() as run:
        run.ready()
        with pytest.raises(ParameterError, match="2 to 8"):
            run.session.best_of(count, "How?")


def test_nothing_is_begun_while_a_reply_is_written_or_without_a_message():
    with running(Script(**SLOW)) as run:
        run.ready()
        with pytest.raises(ContextError, match="no message yet"):
            run.session.best_of(3)
        with pytest.raises(ContextError, match="too long"):
            run.session.best_of(3, "word " * 3000)
        run.session.send("Count")
        wait_until(lambda: run.engine(Delta))
        for text in ("", "More"):
            with pytest.raises(BusyError):
                run.session.best_of(3, text)
        assert len(run.texts()) == 2
        run.session.cancel()
        run.idle()


def test_candidates_leave_out_what_is_not_sent_and_keep_other_versions(tmp_path: Path):
    """The prompt is that of a retry."""
    with running(Script(replies=("First.", "Second.", *THREE))) as run:
        run.ready()
        run.say("One")
        run.say("Two")
        run.session.exclude(run.session.messages()[0].id)
        retried = run.session.regenerate()
        run.idle()
        run.session.delete(retried.id)
        run.session.best_of(2)
        run.idle()
        prompts = [replace(r, seed=0).ids for r in run.backend.requests]
        assert prompts[3] == prompts[4] == prompts[2]
