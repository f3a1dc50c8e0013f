"""The engine thread: runs the jobs that front ends submit, one at a time, on a `Backend`.

Submitting never blocks; the events of a job arrive on the engine thread. Every load and every reply
ends with exactly one terminal event, even if it was cancelled or failed. Only after a failed load
may more events follow, when the runner restores the previous model.
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
"""Builds the request of a reply. The engine thread calls it just before it runs the job, so that
the prompt can depend on the jobs before it. It may raise `TuiChatError`."""
PrepareSeveral = Callable[[], Sequence[GenerateRequest]]
"""Builds the requests of several replies to one prompt, like `Prepare`."""


class JobHandle:
    """Lets the submitter of a job cancel it and wait for it. Safe to use from any thread."""

    def __init__(self) -> None:
        self.done = Event()
        """Set once the last event of the job has been delivered."""
        self._cancel = Event()

    def cancel(self) -> None:
        """Stop the job if it runs, or skip it if it waits in the queue.

        It still ends with its terminal event.
        """
        self._cancel.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancel.is_set()


class _GroupHandle(JobHandle):
    """The handle of a job with several replies, over the handles of those replies."""

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
    """Delivers the events of one job or reply to its listener, up to one terminal event."""

    terminal: tuple[type[EngineEvent], ...]
    """Types of the events that end it."""

    def __init__(self, on_event: Emit) -> None:
        self.handle = JobHandle()
        self.cancel = self.handle._cancel
        self.is_ended = False
        self._on_event = on_event

    def emit(self, event: EngineEvent) -> None:
        """Deliver an event; after the terminal event, log an error instead."""
        if self.is_ended:
            log.error("an event came after the end of its job: %s", type(event).__name__)
            return
        self.is_ended = isinstance(event, self.terminal)
        self.deliver(event)

    def deliver(self, event: EngineEvent) -> None:
        """Call the listener with an event, and log any exception."""
        try:
            self._on_event(event)
        except Exception:
            log.exception("a listener failed on %s", type(event).__name__)

    def set_done(self) -> None:
        """Mark the handle as done: every event has been delivered."""
        self.handle.done.set()


class _ReplyLine(_Line):
    terminal = (Finished, Failed)


class _Job(_Line, ABC):
    """A unit of work for the engine thread."""

    @abstractmethod
    def run(self, runner: EngineRunner) -> None:
        """Do the work, on the engine thread."""

    @abstractmethod
    def skipped(self) -> EngineEvent | None:
        """Return the terminal event of a job that was cancelled in the queue, or None."""

    def clear_up(self, runner: EngineRunner) -> None:
        """Do what must follow the terminal event."""


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
    """Several replies to one prompt, each with its own handle and terminal event."""

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
        """Deliver a terminal event to every reply that has not ended."""
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
        """If loading failed after the previous model was freed, load that model again."""
        before = runner.last_loaded
        if before is None or runner.backend.info is not None or runner.is_closing:
            return
        if runner.has_load_waiting:
            return  # if that load fails too, it restores the same model
        # `deliver`, since `emit` takes no event after the terminal one.
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
        self.is_ended = True  # without a loaded model the job ends without an event

    def skipped(self) -> EngineEvent | None:
        self.is_ended = True
        return None


class EngineRunner:
    """Runs jobs on a backend, in order, on a thread that it starts.

    Args:
        backend: The backend. Only the engine thread calls it, except for the members that
            `Backend` allows on any thread.
        on_idle: Called on the engine thread whenever a job ends and none waits.
    """

    def __init__(self, backend: Backend, on_idle: Callable[[], None] | None = None) -> None:
        self.backend = backend
        self.last_loaded: LoadRequest | None = None
        """The filled-in request of the last model that loaded, for a failed load to restore. Engine
        thread only."""
        self.closing = Event()
        """Set by `close`; it also cancels the restoring of a model."""
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
        """Whether a load that is not cancelled waits in the queue. Any thread."""
        with self._wake:
            return any(isinstance(j, _LoadJob) and not j.cancel.is_set() for j in self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether no job runs and none waits. Any thread."""
        with self._wake:
            return self._current is None and not self._queue

    def submit_load(self, request: LoadRequest, on_event: Emit) -> JobHandle:
        """Load a model in place of the loaded one.

        The engine thread checks the request first; a request that fails the check ends with
        `Failed` and leaves the loaded model alone. Otherwise the events are `Unloaded` if a model
        was freed, `Loading`s, then `Ready` or `Failed`. If loading fails after the previous model
        was freed, the runner loads that one again: `Failed` is followed by more `Loading`s and
        `Ready`, or by a second `Failed` if that does not work either.

        Args:
            request: The model to load.
            on_event: Receives the events, on the engine thread.

        Raises:
            BusyError: If the runner is closed.
        """
        return self._submit(_LoadJob(request, on_event))

    def submit_generate(self, prepare: Prepare, on_event: Emit) -> JobHandle:
        """Write a reply; the job ends with one `Finished` or `Failed`.

        Args:
            prepare: Builds the request, on the engine thread, just before the reply is written.
            on_event: Receives the events, on the engine thread.

        Raises:
            BusyError: If the runner is closed.
        """
        return self._submit(_GenerateJob(prepare, on_event))

    def submit_several(
        self, prepare: PrepareSeveral, count: int, on_event: EmitEach
    ) -> list[JobHandle]:
        """Write several replies to one prompt; each ends with one `Finished` or `Failed`.

        Args:
            prepare: Builds the requests, on the engine thread, just before they are written.
            count: Number of requests that `prepare` returns.
            on_event: Receives each event with the index of its reply, on the engine thread.

        Returns:
            One handle for each reply. Cancelling one leaves the others running.

        Raises:
            BusyError: If the runner is closed.
        """
        job = _SeveralJob(prepare, count, on_event)
        self._submit(job)
        return [line.handle for line in job.lines]

    def submit_unload(self, on_event: Emit) -> JobHandle:
        """Free the loaded model.

        The job ends with `Unloaded`, with `Failed`, or, if no model was loaded, without an event.

        Raises:
            BusyError: If the runner is closed.
        """
        return self._submit(_UnloadJob(on_event))

    def interrupt(self) -> bool:
        """Cancel the running job, but not those in the queue; return whether a job was running."""
        with self._wake:
            current = self._current
        if current is None:
            return False
        current.handle.cancel()
        return True

    def close(self, timeout: float = 2.0) -> bool:
        """Cancel all jobs and end the engine thread.

        Args:
            timeout: Longest time to wait for the thread, in seconds.

        Returns:
            Whether the thread has ended. If not, it is inside native code that cannot be
            interrupted, and only `os._exit` ends the process.
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
        """Load a model and emit `Ready`. Engine thread only."""
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
            # Before `set_done`, so that whoever waits for the job finds the runner idle.
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
        """Wait for the next job; None once the runner is closed and the queue is empty.

        A closing runner still takes the cancelled jobs, each of which needs its terminal event.
        """
        with self._wake:
            while not self._queue and not self.is_closing:
                self._wake.wait()
            self._current = self._queue.popleft() if self._queue else None
            return self._current

    def _do(self, job: _Job) -> None:
        """Run a job and make sure that it ends with a terminal event."""
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
    """Run an action; return the `Failed` event for what it raised, or None."""
    try:
        action()
    except BaseException as error:  # nothing may end the thread, which has other jobs to run
        if not isinstance(error, TuiChatError):
            log.error("a job failed\n%s", traceback.format_exc())
        failed = failure_event(error)
        forget_frames(error)
        return failed
    return None
