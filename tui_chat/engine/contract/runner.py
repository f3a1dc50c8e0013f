"""The one engine thread, and the queue in front of it.

Owns the order of jobs, their cancelling, and the promise that each one ends with exactly one
terminal event. Callers never wait: they submit, and events arrive on the engine thread. Refuses to
know what is computed; that is the backend's.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event

from tui_chat.chat.events import EngineEvent, Failed, Finished, Ready, Stats, Unloaded
from tui_chat.engine.contract.backend import Backend, Emit, EmitEach, GenerateRequest, LoadRequest
from tui_chat.engine.contract.failures import failure_event, forget_frames
from tui_chat.errors import BusyError, Remedy, TuiChatError

log = logging.getLogger(__name__)

Prepare = Callable[[], GenerateRequest]
"""Composes a request when its turn has come, on the engine thread; may raise `TuiChatError`."""
PrepareSeveral = Callable[[], Sequence[GenerateRequest]]
"""The same for several replies to one prompt."""


class JobHandle:
    """A submitted job, for whoever submitted it. Safe to use from any thread."""

    def __init__(self) -> None:
        self.done = Event()
        """Set after the last event of the job was delivered."""
        self._cancel = Event()

    def cancel(self) -> None:
        """Stop the job, or keep it from beginning. It still ends with its terminal event."""
        self._cancel.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set()


class _GroupHandle(JobHandle):
    """Stands for several jobs that are one to the queue."""

    def __init__(self, members: Sequence[JobHandle]) -> None:
        super().__init__()
        self._members = members

    def cancel(self) -> None:
        for member in self._members:
            member.cancel()

    @property
    def is_cancelled(self) -> bool:
        return all(member.is_cancelled for member in self._members)


class _Line:
    """The way back to whoever submitted something: a handle, and one terminal event at the end."""

    terminal: tuple[type[EngineEvent], ...]
    """What it ends with."""

    def __init__(self, on_event: Emit) -> None:
        self.handle = JobHandle()
        self.cancel = self.handle._cancel
        self.is_ended = False
        self._on_event = on_event

    def emit(self, event: EngineEvent) -> None:
        """Deliver an event, unless the terminal one was; a listener that raises is logged."""
        if self.is_ended:
            log.error("an event came after the end of its job: %s", type(event).__name__)
            return
        self.is_ended = isinstance(event, self.terminal)
        self.deliver(event)

    def deliver(self, event: EngineEvent) -> None:
        """Hand an event to the listener."""
        try:
            self._on_event(event)
        except Exception:
            log.exception("a listener failed on %s", type(event).__name__)

    def set_done(self) -> None:
        """Say that all was delivered."""
        self.handle.done.set()


class _ReplyLine(_Line):
    terminal = (Finished, Failed)


class _Job(_Line, ABC):
    """Something for the engine thread to do."""

    @abstractmethod
    def run(self, runner: EngineRunner) -> None:
        """Do it, on the engine thread."""

    @abstractmethod
    def skipped(self) -> EngineEvent | None:
        """The terminal event of a job that was cancelled before it began."""

    def clear_up(self, runner: EngineRunner) -> None:
        """What is left to do after the terminal event."""


class _GenerateJob(_Job):
    terminal = (Finished, Failed)

    def __init__(self, prepare: Prepare, on_event: Emit) -> None:
        super().__init__(on_event)
        self._prepare = prepare

    def run(self, runner: EngineRunner) -> None:
        runner.backend.generate(self._prepare(), self.emit, self.cancel)

    def skipped(self) -> EngineEvent:
        return Finished("cancelled", Stats())


class _SeveralJob(_Job):
    """Several replies to one prompt; each has a handle and a terminal event of its own."""

    terminal = (Finished, Failed)

    def __init__(self, prepare: PrepareSeveral, count: int, on_event: EmitEach) -> None:
        super().__init__(lambda event: None)
        self._prepare = prepare
        self.lines = [_ReplyLine(partial(on_event, number)) for number in range(count)]
        self.handle = _GroupHandle([line.handle for line in self.lines])

    def run(self, runner: EngineRunner) -> None:
        runner.backend.generate_several(
            self._prepare(),
            lambda number, event: self.lines[number].emit(event),
            [line.cancel for line in self.lines],
        )
        self.is_ended = all(line.is_ended for line in self.lines)

    def skipped(self) -> EngineEvent:
        return Finished("cancelled", Stats())

    def emit(self, event: EngineEvent) -> None:
        """Deliver an event to every reply that has not ended."""
        for line in self.lines:
            if not line.is_ended:
                line.emit(event)
        self.is_ended = True

    def set_done(self) -> None:
        for line in self.lines:
            line.set_done()
        super().set_done()


class _LoadJob(_Job):
    terminal = (Ready, Failed)

    def __init__(self, request: LoadRequest, on_event: Emit) -> None:
        super().__init__(on_event)
        self._request = request

    def run(self, runner: EngineRunner) -> None:
        wanted = runner.backend.preflight(self._request)
        freed = runner.backend.unload()
        if freed is not None:
            self.emit(freed)
        runner.load(wanted, self.emit, self.cancel)

    def clear_up(self, runner: EngineRunner) -> None:
        """Where nothing is loaded now, load the model again that was freed before."""
        before = runner.last_loaded
        if before is None or runner.backend.info is not None or runner.is_closing:
            return
        if runner.has_load_waiting:
            return  # that one goes back to the same model if it fails
        failed = _try(lambda: runner.load(before, self.deliver, runner.closing))
        if failed is not None and not runner.is_closing:
            runner.last_loaded = None
            detail = failed.detail or failed.title
            title = f"{before.model} could not be loaded again"
            self.deliver(Failed(failed.code, title, detail, "Choose a model", Remedy.CHOOSE_MODEL))

    def skipped(self) -> EngineEvent:
        return Failed(
            "cancelled", "Loading was stopped", "", "Load a model whenever you like",
            Remedy.CHOOSE_MODEL,
        )  # fmt: skip


class _UnloadJob(_Job):
    terminal = (Unloaded, Failed)

    def run(self, runner: EngineRunner) -> None:
        freed = runner.backend.unload()
        runner.last_loaded = None
        if freed is not None:
            self.emit(freed)
        self.is_ended = True  # with nothing loaded there is nothing to say

    def skipped(self) -> EngineEvent | None:
        self.is_ended = True
        return None


class EngineRunner:
    """Runs a backend on a thread of its own, one job after the other.

    Args:
        backend: What runs a model. Only the engine thread calls it, but for what it says is safe.
        on_idle: Called on the engine thread whenever no job is left.
    """

    def __init__(self, backend: Backend, on_idle: Callable[[], None] | None = None) -> None:
        self.backend = backend
        self.last_loaded: LoadRequest | None = None
        """What a failed load goes back to, every value decided. Engine thread only."""
        self.closing = Event()
        """Set once the runner is being closed."""
        self._on_idle = on_idle
        self._wake = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._current: _Job | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self.closing.is_set()

    @property
    def has_load_waiting(self) -> bool:
        """Whether another model is to be loaded next. Any thread."""
        with self._wake:
            return any(isinstance(j, _LoadJob) and not j.cancel.is_set() for j in self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits. Any thread."""
        with self._wake:
            return self._current is None and not self._queue

    def submit_load(self, request: LoadRequest, on_event: Emit) -> JobHandle:
        """Check a request, free the present model, and load.

        Events: `Unloaded` if a model was freed, `Loading`s, then `Ready` or `Failed`. If it failed
        after the present model was freed, that one is loaded again: more `Loading`s, then `Ready`,
        or a second `Failed` if even that does not work. What fails the check frees nothing.

        Raises:
            BusyError: If the runner is closed.
        """
        return self._submit(_LoadJob(request, on_event))

    def submit_generate(self, prepare: Prepare, on_event: Emit) -> JobHandle:
        """Write a reply. Ends with one `Finished` or `Failed`.

        Args:
            prepare: Called on the engine thread when the job's turn has come.
            on_event: Takes the events, on the engine thread.

        Raises:
            BusyError: If the runner is closed.
        """
        return self._submit(_GenerateJob(prepare, on_event))

    def submit_several(
        self, prepare: PrepareSeveral, count: int, on_event: EmitEach
    ) -> list[JobHandle]:
        """Write several replies to one prompt. Each ends with one `Finished` or `Failed`.

        Args:
            prepare: Called on the engine thread when their turn has come.
            count: How many requests it gives.
            on_event: Takes the events with the number of the reply, on the engine thread.

        Returns:
            A handle for each. Until all are cancelled the others go on.

        Raises:
            BusyError: If the runner is closed.
        """
        job = _SeveralJob(prepare, count, on_event)
        self._submit(job)
        return [line.handle for line in job.lines]

    def submit_unload(self, on_event: Emit) -> JobHandle:
        """Free the loaded model. One `Unloaded`, or nothing where none was loaded.

        Raises:
            BusyError: If the runner is closed.
        """
        return self._submit(_UnloadJob(on_event))

    def interrupt(self) -> bool:
        """Cancel the job that runs, and say whether there was one. Those that wait stay."""
        with self._wake:
            current = self._current
        if current is None:
            return False
        current.handle.cancel()
        return True

    def close(self, timeout: float = 2.0) -> bool:
        """Cancel everything and end the thread.

        Args:
            timeout: Seconds to wait for it at most.

        Returns:
            Whether the thread has ended. If not, it is inside native code that cannot be
            interrupted, and the process has to end with `os._exit`.
        """
        with self._wake:
            self.closing.set()
            for job in (*self._queue, *([self._current] if self._current else [])):
                job.handle.cancel()
            self._wake.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def load(self, request: LoadRequest, emit: Emit, cancel: Event) -> None:
        """Load a model and say that it is ready. Engine thread only."""
        info = self.backend.load(request, emit, cancel)
        self.last_loaded = request
        emit(Ready(info, self.backend.memory_bytes()))

    def _submit(self, job: _Job) -> JobHandle:
        with self._wake:
            if self.is_closing:
                raise BusyError("The engine is closed", "", "Start the program again")
            self._queue.append(job)
            self._wake.notify_all()
        return job.handle

    def _run(self) -> None:
        while (job := self._next()) is not None:
            began = time.monotonic()
            self._do(job)
            log.debug("%s took %.3f s", type(job).__name__, time.monotonic() - began)
            with self._wake:
                self._current = None
                is_idle = not self._queue
            job.set_done()
            if is_idle and self._on_idle is not None:
                try:
                    self._on_idle()
                except Exception:
                    log.exception("on_idle failed")

    def _next(self) -> _Job | None:
        """Wait for a job; None once closed and nothing is left to be told."""
        with self._wake:
            while not self._queue and not self.is_closing:
                self._wake.wait()
            self._current = self._queue.popleft() if self._queue else None
            return self._current

    def _do(self, job: _Job) -> None:
        """Run a job to its terminal event, whatever happens in it."""
        end: EngineEvent | None
        if job.handle.is_cancelled:
            end = job.skipped()
        else:
            end = _try(lambda: job.run(self))
            if end is None and not job.is_ended:
                end = Failed("internal", "The engine ended a job without saying how")
        if end is not None and not job.is_ended:
            job.emit(end)
        job.clear_up(self)


def _try(action: Callable[[], None]) -> Failed | None:
    """Run something; what it raises comes back in words, with nothing of it kept."""
    try:
        action()
    except BaseException as error:
        if not isinstance(error, TuiChatError):
            log.error("a job failed\n%s", traceback.format_exc())
        failed = failure_event(error)
        forget_frames(error)
        return failed
    return None
