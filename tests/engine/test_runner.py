"""One job after the other, each with one end, and nothing that can hang the caller."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_chat.chat.events import (
    Delta,
    EngineEvent,
    Failed,
    Finished,
    Loading,
    Prefill,
    Ready,
    Stats,
    Unloaded,
)
from tui_chat.chat.params import NEUTRAL
from tui_chat.engine.contract.backend import Emit, GenerateRequest, LoadRequest
from tui_chat.engine.contract.runner import EngineRunner, JobHandle
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.errors import BusyError, ContextError, ModelLoadError, TuiChatError

PARAMS = NEUTRAL.with_values({"max_new_tokens": 100})
GUIDE, FLAGSHIP = LoadRequest("guide"), LoadRequest("oasst-12b", "8bit")


def request(ids: tuple[int, ...] = (1, 2, 3)) -> GenerateRequest:
    return GenerateRequest(ids, lambda: PARAMS, 1, (0,), 2048)


class Gate(ScriptedBackend):
    """A scripted backend that can be held at the beginning of a reply."""

    def __init__(self, script: Script | None = None) -> None:
        super().__init__(script)
        self.open = Event()
        self.open.set()
        self.entered = Event()
        self.threads: set[str] = set()

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        while not self.open.wait(0.005) and not cancel.is_set():
            pass
        super().generate(request, emit, cancel)


@contextmanager
def running(backend: ScriptedBackend, **options: Any) -> Iterator[EngineRunner]:
    runner = EngineRunner(backend, **options)
    try:
        yield runner
    finally:
        assert runner.close(5)


class Log:
    """The events of one job."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []

    def __call__(self, event: EngineEvent) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        names = [type(event).__name__ for event in self.events]
        return [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def finish(submit: Callable[[Log], JobHandle]) -> Log:
    """Submit a job and wait for its end."""
    log = Log()
    assert submit(log).done.wait(5)
    return log


def test_a_reply_arrives_in_order_on_the_engine_thread() -> None:
    backend = Gate(Script(replies=["one two three"]))
    with running(backend) as runner:
        log = finish(lambda log: runner.submit_generate(request, log))

    assert log.kinds == ["Prefill", "Delta", "Finished"]
    assert log.text == "one two three"
    assert backend.threads == {"engine"}


def test_jobs_run_one_after_the_other_in_the_order_they_came() -> None:
    order: list[int] = []
    with running(Gate()) as runner:
        handles = [
            runner.submit_generate(lambda n=n: (order.append(n), request())[1], Log())
            for n in range(20)
        ]
        assert all(handle.done.wait(5) for handle in handles)

    assert order == list(range(20))


def test_a_request_that_cannot_be_composed_is_one_failure() -> None:
    def prepare() -> GenerateRequest:
        raise ContextError("Too long", "3,000 tokens", "Shorten it")

    with running(Gate()) as runner:
        log = finish(lambda log: runner.submit_generate(prepare, log))
        after = finish(lambda log: runner.submit_generate(request, log))

    assert log.events == [Failed("context", "Too long", "3,000 tokens", "Shorten it")]
    assert after.kinds[-1] == "Finished"


def test_cancelling_a_running_reply_keeps_what_was_written() -> None:
    backend = Gate(Script(replies=["word " * 1000], token_s=0.001))
    log = Log()
    with running(backend) as runner:
        handle = runner.submit_generate(
            request, lambda e: (log(e), handle.cancel() if len(log.events) == 8 else None)[0]
        )
        assert handle.done.wait(5)

    assert log.events[-1].reason == "cancelled"  # type: ignore[union-attr]  # it must be Finished
    assert log.text


def test_a_cancelled_reply_that_never_began_still_ends() -> None:
    backend = Gate()
    backend.open.clear()
    waiting = Log()
    with running(backend) as runner:
        first = runner.submit_generate(request, Log())
        assert backend.entered.wait(5)
        second = runner.submit_generate(request, waiting)
        second.cancel()
        backend.open.set()
        assert first.done.wait(5)
        assert second.done.wait(5)

    assert [type(event) for event in waiting.events] == [Finished]
    assert waiting.events[0].reason == "cancelled"  # type: ignore[union-attr]  # as asserted above
    assert len(backend.requests) == 1


def test_interrupt_cancels_the_running_job_alone() -> None:
    backend = Gate()
    backend.open.clear()
    first, second = Log(), Log()
    with running(backend) as runner:
        assert not runner.interrupt()
        handle = runner.submit_generate(request, first)
        assert backend.entered.wait(5)
        after = runner.submit_generate(request, second)
        assert runner.interrupt()
        assert handle.done.wait(5)
        backend.open.set()
        assert after.done.wait(5)

    assert first.of(Finished)[0].reason == "cancelled"
    assert second.of(Finished)[0].reason == "eos"


def test_loading_and_switching_frees_the_old_model_first() -> None:
    with running(Gate()) as runner:
        first = finish(lambda log: runner.submit_load(GUIDE, log))
        second = finish(lambda log: runner.submit_load(FLAGSHIP, log))

    assert first.kinds == ["Loading", "Ready"]
    assert second.kinds == ["Unloaded", "Loading", "Ready"]
    assert second.of(Ready)[0].info.name == "oasst-12b"


def test_what_the_check_refuses_frees_nothing() -> None:
    backend = Gate()
    with running(backend) as runner:
        finish(lambda log: runner.submit_load(GUIDE, log))
        log = finish(lambda log: runner.submit_load(LoadRequest("nonsense"), log))

        assert log.kinds == ["Failed"]
        assert backend.info is not None


def test_a_failed_switch_goes_back_to_the_old_model() -> None:
    failure = ModelLoadError("It broke", "a tensor is missing", "Download it again")
    backend = Gate(Script(load_failures={"oasst-12b": failure}))
    with running(backend) as runner:
        finish(lambda log: runner.submit_load(GUIDE, log))
        log = finish(lambda log: runner.submit_load(FLAGSHIP, log))
        reply = finish(lambda log: runner.submit_generate(request, log))

    assert log.kinds == ["Unloaded", "Loading", "Failed", "Loading", "Ready"]
    assert log.of(Failed) == [
        Failed("load", "It broke", "a tensor is missing", "Download it again")
    ]
    assert log.of(Ready)[0].info.name == "guide"
    assert reply.kinds[-1] == "Finished"


def test_when_even_the_old_model_cannot_come_back_it_says_so() -> None:
    backend = Gate(Script(load_failures={"oasst-12b": ModelLoadError("It broke")}))
    with running(backend) as runner:
        finish(lambda log: runner.submit_load(GUIDE, log))
        backend.script.load_failures["guide"] = ModelLoadError("gone", "no such file")
        log = finish(lambda log: runner.submit_load(FLAGSHIP, log))
        backend.script.load_failures.clear()
        again = finish(lambda log: runner.submit_load(FLAGSHIP, log))

    assert log.kinds == ["Unloaded", "Loading", "Failed", "Loading", "Failed"]
    assert "guide could not be loaded again" in log.events[-1].title  # type: ignore[union-attr]  # Failed
    assert again.kinds == ["Loading", "Ready"]


def test_a_stopped_switch_goes_back_too() -> None:
    backend = Gate(Script(load_s=0.001))
    log = Log()
    with running(backend) as runner:
        finish(lambda log: runner.submit_load(GUIDE, log))
        handle = runner.submit_load(
            FLAGSHIP,
            lambda e: (log(e), handle.cancel() if len(log.of(Loading)) == 3 else None)[0],
        )
        assert handle.done.wait(5)

        assert log.kinds == ["Unloaded", "Loading", "Failed", "Loading", "Ready"]
        assert backend.info is not None
        assert backend.info.name == "guide"


def test_the_old_model_is_not_loaded_in_between_when_another_one_waits() -> None:
    backend = Gate(Script(load_s=0.001))
    first, second = Log(), Log()
    handles: list[JobHandle] = []

    def change_of_mind(event: EngineEvent) -> None:
        first(event)
        if len(first.of(Loading)) == 3 and len(handles) == 1:
            handles[0].cancel()
            handles.append(runner.submit_load(replace(FLAGSHIP, precision="4bit"), second))

    with running(backend) as runner:
        finish(lambda log: runner.submit_load(GUIDE, log))
        handles.append(runner.submit_load(FLAGSHIP, change_of_mind))
        assert handles[0].done.wait(5)
        assert handles[1].done.wait(5)

    assert first.kinds == ["Unloaded", "Loading", "Failed"]
    assert second.kinds == ["Loading", "Ready"]


def test_a_switch_that_is_refused_after_another_was_stopped_restores_the_old_model() -> None:
    backend = Gate(Script(load_s=0.001))
    first, second = Log(), Log()
    handles: list[JobHandle] = []

    def change_of_mind(event: EngineEvent) -> None:
        first(event)
        if len(first.of(Loading)) == 3 and len(handles) == 1:
            handles[0].cancel()
            handles.append(runner.submit_load(LoadRequest("nonsense"), second))

    with running(backend) as runner:
        finish(lambda log: runner.submit_load(GUIDE, log))
        handles.append(runner.submit_load(FLAGSHIP, change_of_mind))
        assert handles[0].done.wait(5)
        assert handles[1].done.wait(5)

    assert second.kinds == ["Failed", "Loading", "Ready"]
    assert second.of(Ready)[0].info.name == "guide"


def test_unloading_says_what_was_freed_once() -> None:
    with running(Gate()) as runner:
        finish(lambda log: runner.submit_load(GUIDE, log))
        first = finish(runner.submit_unload)
        second = finish(runner.submit_unload)

    assert [type(event) for event in first.events] == [Unloaded]
    assert second.events == []


class Faulty(Gate):
    """Breaks its own promises."""

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        if request.ids == (1,):
            raise RuntimeError("boom")
        if request.ids == (2,):
            return
        emit(Failed("internal", "first"))
        emit(Failed("internal", "second"))
        emit(Delta("late"))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_even_a_backend_that_misbehaves_gives_exactly_one_end(number: int) -> None:
    with running(Faulty()) as runner:
        log = finish(lambda log: runner.submit_generate(lambda: request((number,)), log))

    assert [type(event) for event in log.events] == [Failed]


def test_a_listener_that_raises_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[EngineEvent] = []

    def listen(event: EngineEvent) -> None:
        seen.append(event)
        raise ValueError("in the listener")

    with caplog.at_level(logging.CRITICAL), running(Gate()) as runner:
        handle = runner.submit_generate(request, listen)
        assert handle.done.wait(5)
        after = finish(lambda log: runner.submit_generate(request, log))

    assert isinstance(seen[-1], Finished)
    assert sum(isinstance(event, Finished | Failed) for event in seen) == 1
    assert after.kinds[-1] == "Finished"


def test_closing_ends_every_job_and_takes_no_more() -> None:
    backend = Gate()
    backend.open.clear()
    logs = [Log() for _ in range(4)]
    runner = EngineRunner(backend)
    handles = [runner.submit_generate(request, log) for log in logs]
    load = Log()
    handles.append(runner.submit_load(GUIDE, load))
    assert backend.entered.wait(5)

    assert runner.close(5)
    assert all(handle.done.is_set() for handle in handles)
    assert [log.of(Finished)[0].reason for log in logs] == ["cancelled"] * 4
    assert load.of(Failed)[0].code == "cancelled"
    assert runner.close(0)
    with pytest.raises(BusyError):
        runner.submit_generate(request, Log())


class Stuck(Gate):
    """Is inside native code that nothing interrupts."""

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        self.entered.set()
        self.open.wait(20)
        super().generate(request, emit, cancel)


def test_closing_waits_no_longer_than_told() -> None:
    backend = Stuck()
    backend.open.clear()
    runner = EngineRunner(backend)
    runner.submit_generate(request, Log())
    assert backend.entered.wait(5)
    began = time.monotonic()

    assert not runner.close(0.05)
    assert time.monotonic() - began < 1
    backend.open.set()
    assert runner.close(5)


def test_submitting_never_waits_for_the_engine() -> None:
    backend = Stuck()
    backend.open.clear()
    with running(backend) as runner:
        runner.submit_generate(request, Log())
        assert backend.entered.wait(5)
        began = time.monotonic()
        for _ in range(100):
            runner.submit_generate(request, Log()).cancel()
        assert time.monotonic() - began < 1
        assert not runner.is_idle
        backend.open.set()


def test_idle_is_told_when_the_last_job_is_done() -> None:
    idle = Event()
    with running(Gate(), on_idle=idle.set) as runner:
        finish(lambda log: runner.submit_generate(request, log))
        assert idle.wait(5)


actions = st.lists(
    st.sampled_from(["reply", "bad reply", "load", "bad load", "no load", "unload", "cancel last"]),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(actions=actions)
def test_whatever_is_asked_for_every_job_ends_exactly_once(actions: list[str]) -> None:
    def refuse() -> GenerateRequest:
        raise TuiChatError("no")

    backend = Gate(Script(load_failures={"oasst-12b": ModelLoadError("It broke")}))
    jobs: list[tuple[str, JobHandle, Log]] = []
    with running(backend) as runner:
        for action in actions:
            log = Log()
            if action == "cancel last":
                if jobs:
                    jobs[-1][1].cancel()
                continue
            handle = {
                "reply": lambda log: runner.submit_generate(request, log),
                "bad reply": lambda log: runner.submit_generate(refuse, log),
                "load": lambda log: runner.submit_load(GUIDE, log),
                "bad load": lambda log: runner.submit_load(FLAGSHIP, log),
                "no load": lambda log: runner.submit_load(LoadRequest("nonsense"), log),
                "unload": runner.submit_unload,
            }[action](log)
            jobs.append((action, handle, log))
        assert all(handle.done.wait(5) for _, handle, _ in jobs)

    for action, _, log in jobs:
        if action.endswith("reply"):
            assert len(log.of(Finished) + log.of(Failed)) == 1
            assert isinstance(log.events[-1], Finished | Failed)
        elif action == "unload":
            assert len(log.events) <= 1
        else:
            assert isinstance(log.events[-1], Ready | Failed)
            assert not log.of(Prefill)


# Several replies at once


class Several:
    """The events of several replies that are one job."""

    def __init__(self, count: int) -> None:
        self.logs = [Log() for _ in range(count)]

    def __call__(self, number: int, event: EngineEvent) -> None:
        self.logs[number](event)

    @property
    def ends(self) -> list[EngineEvent]:
        return [log.events[-1] for log in self.logs]


def three() -> list[GenerateRequest]:
    return [request() for _ in range(3)]


def test_several_replies_are_one_job_with_an_end_for_each() -> None:
    replies = ["one two three", "four five", "six"]
    several = Several(3)
    with running(Gate(Script(replies=replies))) as runner:
        handles = runner.submit_several(three, 3, several)
        assert all(handle.done.wait(5) for handle in handles)

    assert [log.text for log in several.logs] == replies
    assert [log.kinds for log in several.logs] == [["Prefill", "Delta", "Finished"]] * 3


def test_one_of_several_is_cancelled_while_the_others_go_on() -> None:
    several = Several(3)
    with running(Gate(Script(replies=["word " * 30], token_s=0.002))) as runner:
        handles = runner.submit_several(three, 3, several)
        handles[1].cancel()
        assert all(handle.done.wait(10) for handle in handles)

    ends = [end.reason for end in several.ends if isinstance(end, Finished)]
    assert ends == ["eos", "cancelled", "eos"]


@pytest.mark.parametrize("stop", ["interrupt", "close", "each"])
def test_several_are_stopped_together(stop: str) -> None:
    several = Several(3)
    with running(Gate(Script(replies=["word " * 3000], token_s=0.002))) as runner:
        handles = runner.submit_several(three, 3, several)
        while not several.logs[2].text:
            time.sleep(0.001)
        if stop == "each":
            for handle in handles:
                handle.cancel()
        else:
            assert runner.interrupt() if stop == "interrupt" else runner.close(5)
        assert all(handle.done.wait(5) for handle in handles)

    ends = [end.reason for end in several.ends if isinstance(end, Finished)]
    assert ends == ["cancelled"] * 3


def test_several_that_were_all_cancelled_before_they_began_are_not_prepared() -> None:
    backend = Gate()
    several = Several(3)
    with running(backend) as runner:
        backend.open.clear()
        first = runner.submit_generate(request, Log())
        handles = runner.submit_several(lambda: 1 / 0, 3, several)  # type: ignore[arg-type]
        for handle in handles:
            handle.cancel()
        backend.open.set()
        assert first.done.wait(5) and all(handle.done.wait(5) for handle in handles)

    assert [log.kinds for log in several.logs] == [["Finished"]] * 3


def test_several_that_cannot_be_composed_fail_each() -> None:
    def refuse() -> list[GenerateRequest]:
        raise ContextError("There is nothing to send")

    several = Several(3)
    with running(Gate()) as runner:
        handles = runner.submit_several(refuse, 3, several)
        assert all(handle.done.wait(5) for handle in handles)

    assert [log.kinds for log in several.logs] == [["Failed"]] * 3


def test_those_that_ended_keep_their_end_when_the_backend_breaks() -> None:
    class Broken(ScriptedBackend):
        def generate_several(self, requests: Any, emit: Any, cancels: Any) -> None:
            emit(0, Finished("eos", Stats()))
            raise RuntimeError("injected")

    several = Several(3)
    with running(Broken()) as runner:
        handles = runner.submit_several(three, 3, several)
        assert all(handle.done.wait(5) for handle in handles)

    assert [log.kinds for log in several.logs] == [["Finished"], ["Failed"], ["Failed"]]
