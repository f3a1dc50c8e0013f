"""Atomic file writes: a file appears complete or not at all, even after a power cut.

Every writer fills a temporary file in the target's folder, flushes it to the disk and then moves it
to its final name.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tui_chat.errors import StoreError


def write_atomically(
    path: Path, content: str | bytes, *, overwrite: bool = False, mode: int = 0o666
) -> Path:
    """Write a whole file atomically.

    Args:
        path: The target. Its folder must exist.
        content: The bytes to write, or text to encode as UTF-8; a lone surrogate becomes `?`.
        overwrite: Replace an existing file. If `path` is a symbolic link, its target is replaced.
        mode: Permissions of the file, before the umask is applied.

    Returns:
        `path`, unchanged.

    Raises:
        StoreError: If the target exists and `overwrite` is false, or if it cannot be written. An
            existing file is left unchanged.
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with open_atomically(path, overwrite=overwrite, mode=mode) as file:
        file.write(data)
    return path


@contextmanager
def open_atomically(
    path: Path, *, overwrite: bool = False, mode: int = 0o666
) -> Iterator[IO[bytes]]:
    """Open a temporary binary file that becomes `path` when the block ends without an error.

    The arguments and errors are those of `put_in_place`.
    """
    with put_in_place(path, overwrite=overwrite, mode=mode) as partial, partial.open("wb") as file:
        yield file


@contextmanager
def put_in_place(path: Path, *, overwrite: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """Create an empty temporary file and move it to `path` when the block ends.

    If the block raises, the temporary file is removed and the target stays as it was.

    Args:
        path: The target. Its folder must exist.
        overwrite: Replace an existing file. If `path` is a symbolic link, its target is replaced.
        mode: Permissions of the file, before the umask is applied.

    Yields:
        The path of the temporary file, in the folder of the target.

    Raises:
        StoreError: If the target exists and `overwrite` is false, or if it cannot be written.
    """
    target = Path(os.path.realpath(path)) if overwrite else path
    partial = target.with_name(f".{target.name[:80]}.{uuid.uuid4().hex[:8]}.part")
    try:
        if not overwrite and os.path.lexists(target):
            raise FileExistsError
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
            yield partial
            _sync(partial)
            if overwrite:
                os.replace(partial, target)
            else:
                _move_to_free_name(partial, target)
        finally:
            with suppress(OSError):
                partial.unlink()
        sync_folder(target.parent)
    except FileExistsError:
        raise StoreError(
            f"{path} is already there", "It was not changed", "Choose another name"
        ) from None
    except OSError as error:
        why = "There is no such folder" if not target.parent.is_dir() else str(error.strerror)
        raise StoreError(
            f"{path} cannot be written", why, "Choose another place, or free some disk space"
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_to_free_name(partial: Path, target: Path) -> None:
    """Move a file to a name that must be free.

    Raises:
        FileExistsError: If another process has taken the name.
    """
    try:
        # A link fails if the name is taken, with no gap between the check and the move.
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: here a small gap remains
        if os.path.lexists(target):
            raise FileExistsError from None
        os.rename(partial, target)


def sync_folder(folder: Path) -> None:
    """Flush a folder, so that new and renamed entries survive a power cut.

    On a system that cannot flush a folder, this does nothing.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
