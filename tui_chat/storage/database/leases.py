"""Which running program writes to a message or a chat: lock files, for processes and for chats.

The operating system gives a lock back when its process ends, however it ends, so there is no
heartbeat that a sleeping laptop could miss and no process number that could be taken again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tui_chat.config.paths import private_dir
from tui_chat.safe_text import storable

_LOOK_S = 0.005
"""How long to wait before looking again at a chat that seems taken,"""
_LOOKS = 4
"""and how often: a program that starts tries every lock for a moment."""


def lease_dir(database: Path) -> Path:
    """Folder of the lock files, beside the database."""
    return database.with_name(database.name + ".open")


class ProcessLease:
    """Says to other processes, from `hold` to `release`, that its owner lives.

    Where the folder cannot be written there is no lock file, and the owner counts as ended for
    everybody else.
    """

    def __init__(self, database: Path) -> None:
        self.owner = uuid.uuid4().hex
        self._path = lease_dir(database) / self.owner
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Take the lock file, unless it is held already."""
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = _open_locked(self._path, fcntl.LOCK_EX)

    @property
    def is_held(self) -> bool:
        """Whether other processes can see that this one lives."""
        return self._descriptor is not None

    def release(self) -> None:
        """Say that the owner has ended."""
        if self._descriptor is not None:
            _remove_and_close(self._path, self._descriptor)
            self._descriptor = None
        _remove_folder(self._path.parent)


class ChatLease:
    """Lets one program at a time write to a chat, from `take` to `give_back`."""

    def __init__(self, database: Path, chat_id: str) -> None:
        name = hashlib.sha256(storable(chat_id).encode()).hexdigest()[:32]
        self._path = lease_dir(database) / f"chat-{name}"
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the chat; False if another program has it, or another session of this one.

        Where the folder cannot be written nobody can save the chat, so that it counts as taken by
        whoever asks.
        """
        for look in range(_LOOKS):
            if self._descriptor is not None:
                return True
            if look:
                time.sleep(_LOOK_S)
            try:
                self._descriptor = _open_locked(self._path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:
                return True
        return self._descriptor is not None

    def give_back(self) -> None:
        """Let others take the chat."""
        if self._descriptor is not None:
            _remove_and_close(self._path, self._descriptor)
            self._descriptor = None
        _remove_folder(self._path.parent)


@contextmanager
def lent_chats(database: Path, chat_ids: Iterable[str]) -> Iterator[list[str]]:
    """Take chats for as long as something is done to them; those that others have are given back.

    Args:
        database: The database file.
        chat_ids: Full ids.

    Yields:
        The ids of chats that another program has open.
    """
    leases = {chat_id: ChatLease(database, chat_id) for chat_id in chat_ids}
    try:
        yield [chat_id for chat_id, lease in leases.items() if not lease.take()]
    finally:
        for lease in leases.values():
            lease.give_back()


def _open_locked(path: Path, operation: int) -> int:
    """Make a lock file and lock it; returns its descriptor.

    Raises:
        BlockingIOError: If another one has it and `operation` does not wait.
        OSError: If the file cannot be made.
    """
    for _ in range(100):
        private_dir(path.parent)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # another process just removed the empty folder
            continue
        try:
            fcntl.flock(descriptor, operation)
            # Another process may have taken the new file for a stale one and removed it.
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise FileNotFoundError(path)


def _remove_and_close(path: Path, descriptor: int) -> None:
    with suppress(OSError):
        path.unlink()
    os.close(descriptor)


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()  # fails while another process has its file there


def is_live(database: Path, owner: str) -> bool:
    """Whether the process with that lease still runs; removes the lock file of one that ended."""
    # Never a path built from text of a damaged row.
    return owner.isalnum() and _is_locked(lease_dir(database) / owner)


def _is_locked(path: Path) -> bool:
    """Whether a process has a lock file; removes one that nobody has."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        with suppress(OSError):
            path.unlink()
        return False
    finally:
        os.close(descriptor)


def sweep(database: Path) -> None:
    """Remove the lock files of processes that ended."""
    with suppress(OSError):
        for path in list(lease_dir(database).iterdir()):
            _is_locked(path)


def has_living_process(database: Path) -> bool:
    """Whether any program has the database open for writing."""
    try:
        names = os.listdir(lease_dir(database))
    except OSError:
        return False
    return any(is_live(database, name) for name in names)


@contextmanager
def repair_lock(database: Path) -> Iterator[None]:
    """Let one process at a time judge, set aside and make the database.

    Without a writable folder there is no lock, and nothing to repair either.
    """
    descriptor = None
    with suppress(OSError):
        lock = database.with_name(database.name + ".lock")
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
