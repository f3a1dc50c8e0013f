"""Downloads one large file over HTTP, with cancelling and resuming.

The bytes go to a partial file beside the target. The file gets its own name only once it is
complete and its SHA-256 matches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import BinaryIO

from tui_chat.errors import LoadCancelledError, ModelLoadError

Count = Callable[[int], None]
"""Receives the number of bytes added; negative if bytes were discarded."""

_PIECE = 256 * 1024
"""Bytes between two checks for cancelling."""
_ATTEMPTS = 5
"""Connections in a row without a new byte after which the transfer fails."""
_PAUSE_S = 1.0
"""Seconds between two connections."""
_TIMEOUT_S = 10.0
"""Longest wait for the server to connect or to send a byte, in seconds."""


def fetch_file(url: str, target: Path, size: int, sha256: str, count: Count, cancel: Event) -> None:
    """Download a file, continuing from the partial file of an earlier attempt.

    Args:
        url: Address of the file; requests carry huggingface_hub's headers with the user's token.
        target: Path of the finished file. The partial file is `target` with `.part` appended.
        size: Size of the file in bytes.
        sha256: SHA-256 of the file, in hexadecimal digits.
        count: Receives the bytes as they arrive, beginning with those of the partial file.
        cancel: Stops the download between two pieces; the partial file stays.

    Raises:
        LoadCancelledError: If it was cancelled.
        ModelLoadError: If another program is downloading the file, or the hash is wrong.
        OSError: If the disk cannot be written, or the connection was closed early too often.
            Errors of the HTTP library pass through; see `is_transport_error`.
    """
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f"{target.name}.part")
    lock = target.with_name(f"{target.name}.lock")
    try:
        with FileLock(lock, timeout=0.2), path.open("ab+") as stream:
            part = _Part(stream, size, count, cancel)
            _fill(url, part)
            if part.digest.hexdigest() != sha256:
                part.restart()
                raise ModelLoadError(
                    "The download is damaged",
                    "What arrived is not what the hub announced: the SHA-256 differs",
                    "Load the model again; the file is fetched anew",
                )
        path.replace(target)
    except Timeout:
        raise ModelLoadError(
            "The model is already being downloaded",
            "Another program holds the file",
            "Wait for it to finish, then load the model again",
        ) from None
    lock.unlink(missing_ok=True)


def is_transport_error(error: BaseException) -> bool:
    """Return whether an error means that the network failed.

    That is no connection, a timeout, or a connection that was closed early. The class is compared
    by name, since huggingface_hub's HTTP library has been imported under different names.
    """
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


class _Part:
    """The partial file, with its length and hash so far.

    Opening one hashes the bytes that are there.

    Args:
        stream: The open file, readable and in append mode.
        size: Bytes of the whole file.
        count: Receives the number of bytes added.
        cancel: Checked after every piece and every pause; `LoadCancelledError` is raised then.
    """

    def __init__(self, stream: BinaryIO, size: int, count: Count, cancel: Event) -> None:
        self.digest = hashlib.sha256()
        self.size = size
        self.have = 0
        self._stream = stream
        self._count = count
        self._cancel = cancel
        stream.seek(0)
        while piece := stream.read(_PIECE):
            self._note(piece)
        if self.have > size:
            self.restart()

    def append(self, piece: bytes) -> None:
        """Append a piece."""
        self._stream.write(piece)
        self._note(piece)

    def restart(self) -> None:
        """Discard all bytes."""
        self._stream.truncate(0)
        self._count(-self.have)
        self.have = 0
        self.digest = hashlib.sha256()

    def pause(self) -> None:
        """Wait before the next connection, or until the user cancels."""
        self._cancel.wait(_PAUSE_S)
        self._raise_if_cancelled()

    def _note(self, piece: bytes) -> None:
        self.digest.update(piece)
        self.have += len(piece)
        self._count(len(piece))
        self._raise_if_cancelled()

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise LoadCancelledError


def _fill(url: str, part: _Part) -> None:
    """Connect again and again until the file is complete."""
    failures = 0
    while part.have < part.size:
        before = part.have
        try:
            _append(url, part)
        except Exception as error:
            if not is_transport_error(error) or failures + 1 >= _ATTEMPTS:
                raise
        if part.have >= part.size:
            break
        # A connection that ended early counts as one failure even if it brought bytes.
        failures = failures + 1 if part.have <= before else 1
        if failures >= _ATTEMPTS:
            raise ConnectionError("the connection was closed early, again and again")
        part.pause()


def _append(url: str, part: _Part) -> None:
    """Download the missing bytes until the connection ends."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # it has no __all__
        build_hf_headers,
        hf_raise_for_status,
    )

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if part.have:
        headers["Range"] = f"bytes={part.have}-"
    with get_session().stream(
        "GET", url, headers=headers, timeout=_TIMEOUT_S, follow_redirects=True
    ) as response:
        if response.is_error:
            response.read()
        hf_raise_for_status(response)
        if part.have and response.status_code == 200:  # the server ignores ranges
            part.restart()
        for piece in response.iter_bytes(_PIECE):
            part.append(piece)
            if part.have > part.size:
                raise ConnectionError("the hub sent more than it announced")
