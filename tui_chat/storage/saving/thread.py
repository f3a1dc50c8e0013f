"""The thread that writes queued changes to the database, and retries until they are saved.

The thread commits everything that is queued in one transaction. If the disk is full, the file
read-only or the database locked, the changes stay in memory in their order, the thread copies them
to a spill file, and it retries until saving works.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from tui_chat.chat.conversation import now
from tui_chat.errors import StoreError
from tui_chat.storage.database.connection import is_environment, primary_code, reason
from tui_chat.storage.database.leases import ProcessLease
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.save_state import Notice, SaveState
from tui_chat.storage.saving.pending import Change, Checkpoint, Entry, PendingChanges
from tui_chat.storage.saving.spill import import_spill, waiting_spills, write_spill

log = logging.getLogger(__name__)


_Told = TypeVar("_Told", SaveState, Notice)


class SavingThread:
    """A thread that saves queued changes.

    Args:
        path: The database file; `database.file.open_database` creates, repairs and migrates it.
        on_state: The saving thread calls it with every new state. It must not block.
        on_notice: The saving thread calls it with every new notice. After the start, a notice of
            kind `damaged` or `replaced` means that the caller should save its open chats again,
            with `TranscriptWriter.save_conversation`.
        clock: Returns the current time in UTC.
        backoff: Delay before the first retry, and the maximum delay, in seconds.
        factory: The connection class; tests inject faults with it.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_state: Callable[[SaveState], None] | None = None,
        on_notice: Callable[[Notice], None] | None = None,
        clock: Callable[[], datetime] = now,
        backoff: tuple[float, float] = (0.5, 5.0),
        factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self.path = path
        self._on_state = on_state
        self._on_notice = on_notice
        self._clock = clock
        self._backoff = backoff
        self._factory = factory
        self._changed = threading.Condition()
        self._pending = PendingChanges()
        self._in_flight: list[Entry] = []
        self._refused: list[Change] = []
        self._notices: list[Notice] = []
        self._state = SaveState(True, 0)
        self._ready = threading.Event()
        self._hurry = False
        self._closing = False
        self._closed = False
        self._store: TranscriptStore | None = None
        self._database = Path(os.path.realpath(path))
        self._lease = ProcessLease(self._database)
        self._file_id: tuple[int, int] | None = None
        self._spill: Path | None = None
        self._thread = threading.Thread(target=self._run, name="transcript-writer", daemon=True)

    def listen(
        self, on_state: Callable[[SaveState], None], on_notice: Callable[[Notice], None]
    ) -> None:
        """Set the callbacks; call this before `start`, so that they miss nothing."""
        self._on_state = on_state
        self._on_notice = on_notice

    def start(self) -> Self:
        """Start the thread, which opens the database and saves what is queued."""
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # State and waiting

    @property
    def state(self) -> SaveState:
        """The present state of saving."""
        with self._changed:
            return SaveState(self._state.ok, self._waiting(), self._state.detail)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """All notices for the user so far, oldest first."""
        with self._changed:
            return tuple(self._notices)

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the thread has opened the database or failed to.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False if neither happened in time.
        """
        return self._ready.wait(timeout)

    def wait_saved(self, saved: Future[None], timeout: float) -> bool:
        """Wait until a change is saved.

        Args:
            saved: The future of the change.
            timeout: Seconds to wait at most.

        Returns:
            False if it was not saved in time, or as soon as saving fails.
        """
        with self._changed:
            self._changed.wait_for(lambda: saved.done() or not self._state.ok, timeout)
        return saved.done() and saved.exception() is None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit the changes queued in the block together, so that a crash saves all or none.

        The block holds the lock of the queue, so the thread cannot take only some of them.
        """
        with self._changed:
            yield

    def flush(self, timeout: float) -> bool:
        """Wait until everything queued so far is on the disk.

        If saving is failing, the thread retries at once instead of after its delay.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False if something is still not saved.
        """
        marker = self._submit(Checkpoint(), hurry=True)
        try:
            marker.result(timeout)
        except (TimeoutError, StoreError):
            with self._changed:
                self._pending.remove(marker)
            return False
        return True

    def close(self, timeout: float = 2.0) -> Path | None:
        """Save what is queued and end the thread.

        Args:
            timeout: Seconds to wait for the thread.

        Returns:
            The spill file with the changes that could not be saved, which the next start of the
            program imports. None if everything is saved, or if the file could not be written
            either, which is logged.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        with self._changed:
            self._closed = True
            left = [*self._in_flight, *self._pending.entries()]
        if left or self._refused:
            self._mirror()
        error = StoreError("The program ended before the change was saved")
        for future in (future for entry in left for future in entry.futures):
            _finish(future, error)
        return self._spill

    # The saving thread

    def _submit(self, change: Change, hurry: bool = False) -> Future[None]:
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # from now on, `cancel` has no effect
        with self._changed:
            if self._closed:
                _finish(future, StoreError("The transcripts are closed"))
                return future
            self._pending.add(change, (future,))
            self._hurry = self._hurry or hurry
            self._changed.notify_all()
        return future

    def _run(self) -> None:
        delay = 0.0
        while self._await_work(delay):
            try:
                self._step()
            except Exception as error:  # if the thread ended, nothing would be saved any more
                delay = min(max(2 * delay, self._backoff[0]), self._backoff[1])
                self._fail(error)
                if self._closing:
                    break
            else:
                delay = 0.0
                self._succeed()
        self._disconnect()
        self._lease.release()

    def _await_work(self, delay: float) -> bool:
        """Wait for the next step of the thread.

        Args:
            delay: Seconds until the next retry; 0 if the last step succeeded.

        Returns:
            False if the thread should end, because it is closing and nothing is queued.
        """
        with self._changed:
            if delay:
                self._changed.wait_for(lambda: self._closing or self._hurry, delay)
            elif self._store is not None:  # without a store, the first step must open it at once
                self._changed.wait_for(lambda: self._closing or bool(self._pending))
            self._hurry = False
            return bool(self._pending) or not self._closing

    def _step(self) -> None:
        if self._store is None:
            self._connect()
        with self._changed:
            self._in_flight = self._pending.take()
        try:
            if self._in_flight:
                self._commit(self._in_flight)
        except BaseException:
            with self._changed:
                self._pending.put_back(self._in_flight)
                self._in_flight = []
            raise

    def _commit(self, entries: list[Entry]) -> None:
        assert self._store is not None
        try:
            with self._store.change():
                for entry in entries:
                    entry.change.apply(self._store)
        except Exception as error:
            if is_environment(error):
                raise
            if len(entries) > 1:
                self._commit_one_by_one(entries)
            else:
                self._refuse(entries[0], error)

    def _commit_one_by_one(self, entries: list[Entry]) -> None:
        """Save each change in its own transaction, so that a bad one does not block the others."""
        for entry in list(entries):
            self._commit([entry])
            # This change is saved or refused: `_step` must not queue it again if a later one fails.
            with self._changed:
                self._in_flight = [other for other in self._in_flight if other is not entry]
            for future in entry.futures:
                _finish(future)

    def _refuse(self, entry: Entry, error: Exception) -> None:
        """Give up a change that the database will never accept; keep it for the spill file."""
        log.error("a change could not be saved", exc_info=error)
        self._refused.append(entry.change)
        text = (
            f"A change could not be saved ({error}); it is kept and written to a file at the end."
        )
        self._tell([Notice("refused", text)])
        for future in entry.futures:
            _finish(future, StoreError("A change could not be saved", str(error)))

    def _connect(self) -> None:
        """Open the database, mark interrupted messages and import the spill files of earlier runs.

        Raises:
            StoreError: If the database cannot be opened or is read-only.
            sqlite3.OperationalError: If the database is open, but the trial write failed.
        """
        store = TranscriptStore(self.path, self._clock, lease=self._lease, factory=self._factory)
        try:
            self._tell(store.notices)
            if store.is_read_only:
                raise StoreError("the database or its folder is read-only")
            self._tell_if_replaced(store)
            store.recover_interrupted()
            store.purge()
            self._import_spills(store)
        except BaseException:
            store.close()
            raise
        self._store = store  # keep it open even if the write failed: a retry may succeed
        if store.failed_write is not None:
            raise store.failed_write

    def _tell_if_replaced(self, store: TranscriptStore) -> None:
        facts = store.path.stat()
        file_id = (facts.st_dev, facts.st_ino)
        if self._file_id not in (None, file_id) and not store.notices:
            text = f"{store.path} was removed or replaced; chats are saved in a new file."
            self._tell([Notice("replaced", text, store.path)])
        self._file_id = file_id

    def _import_spills(self, store: TranscriptStore) -> None:
        for path in waiting_spills(store.path):
            if path == self._spill:
                continue  # its changes are still in the queue of this process
            try:
                count = import_spill(store, path)
            except StoreError as error:
                self._tell([Notice("imported", error.one_line, path)])
                continue
            if count:
                text = f"{count} changes that could not be saved last time are saved now."
                self._tell([Notice("imported", text, path)])

    def _disconnect(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _fail(self, error: Exception) -> None:
        """Copy the unsaved changes to the spill file and publish why saving fails."""
        was_open = self._store is not None
        # Open the database again for the next try, because it may be damaged or replaced. With a
        # full disk or a lock, the connection is still good.
        if primary_code(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
            self._disconnect()
        if not is_environment(error):
            log.error("saving failed", exc_info=error)
        self._mirror()
        what = "Not saved yet" if was_open else "Nothing is saved"
        self._set_state(False, f"{what}: {reason(error).rstrip('.')}")

    def _succeed(self) -> None:
        if self._spill is not None and not self._refused:
            with suppress(OSError):
                self._spill.unlink()
            self._spill = None
        with self._changed:
            saved, self._in_flight = self._in_flight, []
        self._set_state(True, "", [future for entry in saved for future in entry.futures])

    def _mirror(self) -> None:
        """Write the unsaved changes to the spill file, in case the program is killed."""
        with self._changed:
            entries = [*self._in_flight, *self._pending.entries()]
        changes = [e.change for e in entries if not isinstance(e.change, Checkpoint)]
        changes = [*self._refused, *changes]
        if not changes:
            return
        try:
            self._spill = write_spill(self._database, self._lease.owner, changes, self._spill)
        except Exception as error:
            self._spill = None
            log.error("unsaved changes could not be kept in a file", exc_info=error)

    def _waiting(self) -> int:
        in_flight = sum(not isinstance(e.change, Checkpoint) for e in self._in_flight)
        return len(self._pending) + in_flight

    def _set_state(self, ok: bool, detail: str, saved: Iterable[Future[None]] = ()) -> None:
        """Set the state, complete the futures of saved changes, then call the listener.

        The order matters: whoever waits for a future or is called back must see the new state.
        Futures and the listener run foreign code, so the lock is not held meanwhile.
        """
        with self._changed:
            state = SaveState(ok, self._waiting(), detail)
            is_new = state != self._state or not self._ready.is_set()
            self._state = state
        for future in saved:
            _finish(future)
        with self._changed:
            self._ready.set()
            self._changed.notify_all()
        if is_new:
            _call(self._on_state, state)

    def _tell(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            with self._changed:
                if notice in self._notices:
                    continue
                self._notices.append(notice)
            _call(self._on_notice, notice)


def _call(listener: Callable[[_Told], None] | None, told: _Told) -> None:
    """Call a listener and log any error in it, so that saving goes on."""
    if listener is not None:
        try:
            listener(told)
        except Exception:
            log.exception("a listener of the transcript writer failed")


def _finish(future: Future[None], error: StoreError | None = None) -> None:
    """Complete a future, unless `close` or the thread has already done so."""
    with suppress(InvalidStateError):
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
