"""The session against a scripted engine: what users do, in every state of the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tui_chat.chat.events import Delta, Failed, Finished, Loading, Ready, Unloaded
from tui_chat.chat.params import BUILTIN_PRESETS, Preset
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.engine.files.registry import load_registry
from tui_chat.errors import (
    BusyError,
    ContextError,
    MemoryShortError,
    ModelLoadError,
    ModelNotFoundError,
    ParameterError,
)
from tui_chat.session import (
    ChatSession,
    EngineUpdate,
    RequestFailed,
    SessionEvent,
    SessionSettings,
)
from tui_chat.storage.saving.writer import TranscriptWriter


def wait_until(predicate: Callable[[], object], limit: float = 20.0) -> None:
    """Poll until the predicate holds; fail after a generous limit."""
    end = time.monotonic() + limit
    waiter = threading.Event()
    while not predicate():
        assert time.monotonic() < end, "waited too long"
        waiter.wait(0.002)


class Run:
    """A session with its engine and everything it said."""

    def __init__(self, script: Script, database: Path | None, **settings: object) -> None:
        self.backend = ScriptedBackend(script)
        self.writer = TranscriptWriter(database) if database else None
        self.session = ChatSession(
            self.backend,
            load_registry(),
            SessionSettings(LoadRequest("guide"), **settings),
            self.writer,
        )
        self.events: list[SessionEvent] = []
        self.session.subscribe(self.events.append)

    def engine(self, *kinds: type) -> list:
        return [
            e.event
            for e in list(self.events)
            if isinstance(e, EngineUpdate) and isinstance(e.event, kinds)
        ]

    def ready(self) -> Run:
        self.session.start()
        wait_until(lambda: self.engine(Ready))
        return self

    def idle(self) -> None:
        wait_until(lambda: not self.session.is_busy)

    def say(self, text: str) -> str:
        reply = self.session.send(text)
        self.idle()
        return self.session.conversation[reply.id].text

    def texts(self) -> list[str]:
        return [m.text for m in self.session.messages()]


@contextmanager
def running(
    script: Script | None = None, database: Path | None = None, **settings: object
) -> Iterator[Run]:
    run = Run(script or Script(), database, **settings)
    try:
        yield run
    finally:
        run.session.close()


SLOW = dict(token_s=0.01, replies=("one two three four five six seven eight nine ten " * 40,))


def test_a_message_is_answered_and_both_are_in_the_chat():
    with running(Script(replies=("Fine, thanks.",))) as run:
        run.ready()
        assert run.say("How are you?") == "Fine, thanks."
        assert run.texts() == ["How are you?", "Fine, thanks."]
        reply = run.session.messages()[1]
        assert (reply.status, reply.finish_reason, reply.model) == ("complete", "eos", "guide")
        assert reply.stats["completion_tokens"] == 2 and reply.seed is not None
        assert len(run.engine(Finished, Failed)) == 1
        assert run.session.conversation.title == "How are you?"


def test_the_next_turn_reuses_what_was_computed():
    with running() as run:
        run.ready()
        run.say("First")
        run.say("Second")
        assert run.session.last_stats.reused_tokens >= 5
        first, second = (r.ids for r in run.backend.requests)
        assert second[: len(first)] == first


def test_a_message_sent_while_the_model_loads_waits_for_it():
    with running(Script(load_s=0.02)) as run:
        run.session.start()
        wait_until(lambda: run.engine(Loading))
        reply = run.session.send("Early")
        assert run.session.conversation[reply.id].status == "waiting"
        run.idle()
        assert run.texts() == ["Early", "Hello! This reply comes from a script."]


def test_messages_sent_while_busy_are_answered_in_order():
    with running(Script(replies=("A.", "B.", "C."), token_s=0.02)) as run:
        run.ready()
        for text in ("1", "2", "3"):
            run.session.send(text)
        run.idle()
        assert run.texts() == ["1", "A.", "2", "B.", "3", "C."]


def test_stopping_keeps_the_text_and_the_next_turn_has_it():
    with running(Script(**SLOW)) as run:
        run.ready()
        reply = run.session.send("Count")
        wait_until(lambda: len(run.engine(Delta)) > 5)
        assert run.session.cancel() == "reply"
        run.idle()
        stopped = run.session.conversation[reply.id]
        assert stopped.status == "stopped" and stopped.text.startswith("one two three")
        run.session.send("Go on")
        wait_until(lambda: len(run.backend.requests) == 2)
        run.session.cancel()
        run.idle()
        sent = run.backend._encoder.decode(run.backend.requests[1].ids)
        assert f"<|assistant|>{stopped.text}<|endoftext|><|prompter|>Go on" in sent


def test_a_waiting_message_can_be_taken_back():
    with running(Script(load_s=0.05)) as run:
        run.session.start()
        reply = run.session.send("Early")
        assert run.session.cancel() == "waiting"
        wait_until(lambda: [e for e in run.events if isinstance(e, RequestFailed)])
        assert run.session.conversation.title == "Early"
        assert run.session.take_back(reply.id) == "Early"
        assert run.texts() == []
        assert run.session.conversation.title == ""


def test_a_title_of_the_users_own_stays_when_the_first_message_is_taken_back():
    with running(Script(load_s=0.05)) as run:
        run.session.start()
        reply = run.session.send("Early")
        run.session.rename_chat(run.session.conversation.id, "Mine")
        run.session.cancel()
        wait_until(lambda: [e for e in run.events if isinstance(e, RequestFailed)])
        run.session.take_back(reply.id)
        assert run.session.conversation.title == "Mine"


def test_a_failure_before_the_first_token_gives_the_text_back():
    failure = Failed("oom", "Out of memory", "The GPU is full", "Press F4 for 8bit")
    with running(Script(failures={0: (0, failure)})) as run:
        run.ready()
        reply = run.session.send("A long thought")
        run.idle()
        assert [e.failure for e in run.events if isinstance(e, RequestFailed)] == [failure]
        assert run.session.conversation[reply.id].error == failure.one_line
        assert run.session.take_back(reply.id) == "A long thought"
        assert run.texts() == []
        assert run.say("Again") == "Hello! This reply comes from a script."


def test_a_failure_in_the_middle_keeps_what_was_written():
    failure = Failed("bad_numbers", "The model produced NaN")
    with running(Script(failures={0: (2, failure)})) as run:
        run.ready()
        assert run.say("Hi") == "Hello! This"
        assert run.session.messages()[-1].status == "failed"
        assert not [e for e in run.events if isinstance(e, RequestFailed)]
        assert len(run.engine(Finished, Failed)) == 1


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_message_is_refused(text: str):
    with running() as run:
        with pytest.raises(ContextError):
            run.session.send(text)
        assert run.texts() == []


def test_a_message_too_long_is_refused_before_it_is_sent_with_its_size():
    with running(Script(context=100, reserve=40)) as run:
        run.ready()
        with pytest.raises(ContextError, match="103 tokens, and 60 fit"):
            run.session.send("word " * 99 + "word")
        assert run.texts() == []


def test_old_turns_are_left_out_and_the_reply_always_has_room():
    with running(Script(context=200, reserve=80, replies=("word " * 30,))) as run:
        run.ready()
        for number in range(20):
            run.say(f"Question {number} " + "word " * 20)
        assert all(len(r.ids) <= 120 for r in run.backend.requests)
        assert run.session.last_stats.dropped_turns > 0
        view = run.session.context_view("next")
        assert view.dropped_turns > 0 and view.first_kept_id is not None
        assert view.system + view.history + view.draft + view.reserve + view.free == 200


def test_a_retry_is_another_version_and_flipping_shows_the_first():
    with running(Script(replies=("First.", "Second."))) as run:
        run.ready()
        run.say("Q")
        retry = run.session.regenerate()
        run.idle()
        assert run.texts() == ["Q", "Second."]
        assert run.session.versions(retry.id) == (2, 2)
        assert run.backend.requests[0].ids == run.backend.requests[1].ids
        assert run.backend.requests[0].seed != run.backend.requests[1].seed
        assert run.session.flip(retry.id, -1)
        assert run.texts() == ["Q", "First."]
        assert run.session.undo() == "Version"
        assert run.session.undo() == "Retry"
        assert run.texts() == ["Q", "First."]


def test_an_edited_question_is_answered_again_and_the_old_one_stays():
    with running(Script(replies=("A.", "B."))) as run:
        run.ready()
        run.say("Old")
        question = run.session.messages()[0]
        run.session.edit(question.id, "New")
        run.idle()
        assert run.texts() == ["New", "B."]
        assert run.session.undo() == "Edit"
        assert run.texts() == ["Old", "A."]


def test_an_edited_reply_is_continued_from_exactly_its_text():
    with running(Script(replies=("Wrong start.", " and on"))) as run:
        run.ready()
        run.say("Q")
        edited = run.session.edit(run.session.messages()[1].id, "Right start")
        run.session.continue_reply(edited.id)
        run.idle()
        assert run.texts() == ["Q", "Right start and on"]
        sent = run.backend._encoder.decode(run.backend.requests[1].ids)
        assert sent.endswith("<|assistant|>Right start")


def test_deleting_can_be_undone():
    with running() as run:
        run.ready()
        run.say("One")
        run.say("Two")
        assert run.session.delete(run.session.messages()[2].id)
        assert len(run.texts()) == 2
        assert run.session.undo() == "Delete"
        assert len(run.texts()) == 4


def test_the_tree_is_not_changed_while_the_engine_writes():
    with running(Script(**SLOW)) as run:
        run.ready()
        run.session.send("Q")
        wait_until(lambda: run.engine(Delta))
        for action in (run.session.regenerate, run.session.undo, run.session.continue_reply):
            with pytest.raises(BusyError):
                action()


def test_switching_frees_the_old_model_and_keeps_the_chat():
    with running() as run:
        run.ready()
        run.say("Hi")
        run.session.switch_precision("8bit")
        wait_until(lambda: len(run.engine(Ready)) == 2)
        assert run.session.info.precision == "8bit"
        assert len(run.engine(Unloaded)) == 1
        assert run.texts()[0] == "Hi"


def test_a_misspelt_model_stops_nothing():
    with running(Script(load_s=0.02)) as run:
        run.session.start()
        wait_until(lambda: run.engine(Loading))
        with pytest.raises(ModelNotFoundError, match="oasst-12b"):
            run.session.switch_model("oast-12b")
        wait_until(lambda: run.engine(Ready))
        assert run.session.info.name == "guide"


def test_what_does_not_fit_is_refused_and_the_loaded_model_stays():
    with running() as run:
        run.ready()
        run.session.switch_model("oasst-12b", "fp16")
        wait_until(lambda: run.engine(Failed))
        assert run.engine(Failed)[0].code == MemoryShortError.code
        assert run.session.info.name == "guide" and not run.engine(Unloaded)
        assert run.say("Still there?")


def test_a_model_that_fails_to_load_rolls_back_to_the_old_one():
    broken = ModelLoadError("oasst-12b could not be loaded", "A tensor is missing", "Press F3")
    with running(Script(load_failures={"oasst-12b": broken})) as run:
        run.ready()
        run.session.switch_model("oasst-12b", "8bit")
        wait_until(lambda: len(run.engine(Ready)) == 2)
        assert "A tensor is missing" in run.engine(Failed)[0].one_line
        assert run.session.info.name == "guide" and run.session.wanted.model == "guide"
        assert run.say("Still there?")


def test_a_switch_while_loading_takes_waiting_messages_along():
    with running(Script(load_s=0.05)) as run:
        run.session.start()
        wait_until(lambda: run.engine(Loading))
        run.session.send("Early")
        run.session.switch_model("oasst-12b", "8bit")
        run.idle()
        assert run.session.messages()[-1].model == "oasst-12b"
        assert run.texts()[1]


def test_parameters_act_on_a_reply_that_is_being_written():
    with running(Script(**SLOW)) as run:
        run.ready()
        run.session.send("Q")
        wait_until(lambda: run.engine(Delta))
        run.session.set_param("max_new_tokens", 1)
        run.idle()
        assert run.session.messages()[-1].finish_reason == "length"


def test_a_reply_longer_than_the_context_is_refused_and_the_old_value_stays():
    with running(Script(context=512)) as run:
        with pytest.raises(ParameterError, match="1 to 2048"):  # as far as is known before loading
            run.session.set_param("max_new_tokens", 2049)
        run.ready()
        run.session.set_param("max_new_tokens", 512)
        with pytest.raises(ParameterError, match=r"600 is more than the context.*1 to 512"):
            run.session.set_param("output_length", 600)
        assert run.session.params.max_new_tokens == 512


def test_an_own_preset_that_asks_for_more_than_the_context_is_refused():
    presets = {**BUILTIN_PRESETS, "mine": Preset("mine", {"max_new_tokens": 900, "top_k": 3})}
    with running(Script(context=512)) as run:
        run.session._registry = replace(run.session._registry, presets=presets)
        run.ready()
        before = run.session.params
        with pytest.raises(ParameterError, match="'mine' does not fit"):
            run.session.apply_preset("mine")
        assert (run.session.params, run.session.preset) == (before, "greedy")
        run.session.apply_preset("k50")
        assert run.session.params.max_new_tokens == 512


def test_a_model_with_a_smaller_context_cuts_the_reply_says_so_and_gives_it_back():
    with running() as run:
        run.ready()
        run.session.set_param("max_new_tokens", 1500)
        run.backend.script.context = 1000
        run.session.switch_model("oasst-12b", "8bit")
        wait_until(lambda: len(run.engine(Ready)) == 2)
        assert run.session.params.max_new_tokens == 1000
        (warning,) = run.engine(Ready)[-1].info.warnings
        assert "1500" in warning and "1000" in warning
        run.say("Q")
        assert run.session.messages()[-1].params["max_new_tokens"] == 1000
        run.backend.script.context = 2048
        run.session.switch_model("guide")
        wait_until(lambda: len(run.engine(Ready)) == 3)
        assert run.session.params.max_new_tokens == 1500
        assert run.engine(Ready)[-1].info.warnings == ()


def test_a_shipped_preset_gives_way_to_a_small_context_in_silence():
    with running(Script(context=300), preset="k50") as run:
        run.ready()
        assert run.session.params.max_new_tokens == 300
        assert run.engine(Ready)[-1].info.warnings == ()


def test_a_seed_is_used_and_stored():
    with running(overrides={"seed": 7}) as run:
        run.ready()
        run.say("Q")
        assert run.session.messages()[-1].seed == 7 == run.backend.requests[0].seed


def test_a_reply_is_saved_while_it_is_written_and_marked_when_left(tmp_path: Path):
    database = tmp_path / "transcripts.db"
    with running(Script(**SLOW), database) as run:
        run.ready()
        run.session.send("Count")
        wait_until(lambda: len(run.engine(Delta)) > 40)
        chat_id = run.session.conversation.id
    with running(database=database) as later:
        chat = later.session.load_chat(chat_id)
        reply = chat.path()[-1]
        assert reply.status == "stopped" and reply.text.startswith("one two three")
        later.session.open_chat(chat)
        assert later.session.load_chat("last").id == chat_id


def test_chats_are_listed_renamed_deleted_and_brought_back(tmp_path: Path):
    with running(database=tmp_path / "t.db") as run:
        run.ready()
        run.say("First chat")
        first = run.session.conversation.id
        run.session.new_chat()
        run.say("Second chat")
        run.session.rename_chat(first, "Renamed")
        run.writer.flush(10)
        assert [c.title for c in run.session.chats()] == ["Second chat", "Renamed"]
        run.session.delete_chat(first)
        run.writer.flush(10)
        assert [c.title for c in run.session.chats()] == ["Second chat"]
        run.session.undelete_chat(first)
        run.writer.flush(10)
        assert len(run.session.chats()) == 2


def test_leaving_a_chat_stops_its_reply_and_does_not_touch_the_new_one():
    with running(Script(**SLOW)) as run:
        run.ready()
        reply = run.session.send("Count")
        old = run.session.conversation
        wait_until(lambda: run.engine(Delta))
        run.session.new_chat()
        run.idle()
        assert old[reply.id].status == "stopped" and old[reply.id].text
        assert run.texts() == []


def test_lone_surrogates_are_replaced_where_text_comes_in():
    with running() as run:
        run.ready()
        run.say("a\ud800b")
        assert run.texts()[0] == "a\N{REPLACEMENT CHARACTER}b"
