"""Files that are there whole or not at all, also after a power cut."""

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
    """Write a file beside its place, flush it to the disk, then move it into place.

    Args:
        path: Where it goes. Its folder has to exist.
        content: Text is written as UTF-8.
        overwrite: Replace a file that is there, following a symbolic link.
        mode: Permissions of the file, less the user's umask.

    Returns:
        The path that was written.

    Raises:
        StoreError: If the file is there and `overwrite` is off, or it cannot be written. A file
            that was there before is unchanged then.
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with open_atomically(path, overwrite=overwrite, mode=mode) as file:
        file.write(data)
    return path


@contextmanager
def open_atomically(
    path: Path, *, overwrite: bool = False, mode: int = 0o666
) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its place when the block ends, and never if it fails.

    Args and errors as `put_in_place`.
    """
    with put_in_place(path, overwrite=overwrite, mode=mode) as partial, partial.open("wb") as file:
        yield file


@contextmanager
def put_in_place(path: Path, *, overwrite: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """Give an empty file beside a place to write to, and move it there once that is done.

    Args:
        path: Where it goes. Its folder has to exist.
        overwrite: Replace a file that is there, following a symbolic link.
        mode: Permissions of the file, less the user's umask.

    Raises:
        StoreError: If the file is there and `overwrite` is off, or it cannot be written.
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
    """Move a file to a name that must be free, without a moment for another to take it."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError from None
        os.rename(partial, target)


def sync_folder(folder: Path) -> None:
    """Make new and renamed entries of a folder survive a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
