"""Fetches one large file over HTTP so that it can be stopped and taken up again.

Owns the partial file and its hash. A file appears under its own name only when it is whole and its
SHA-256 is right. Refuses to know what the file is for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import BinaryIO

from tui_chat.errors import LoadCancelledError, ModelLoadError

Count = Callable[[int], None]
"""Takes the bytes that were added; negative where some had to be given up."""

_PIECE = 256 * 1024
_ATTEMPTS = 5
"""Connections in a row that bring no new byte before the transfer is given up."""
_PAUSE_S = 1.0
_TIMEOUT_S = 10.0


def fetch_file(url: str, target: Path, size: int, sha256: str, count: Count, cancel: Event) -> None:
    """Fetch a file, behind what an earlier attempt left of it.

    Args:
        url: Where it is. The hub's own headers, with the user's token, are sent.
        target: Where it goes; `target` with `.part` appended holds what there is of it before.
        size: Its bytes.
        sha256: Its hash, in hexadecimal digits.
        count: Told the bytes as they come, what was there first.
        cancel: Stops between two pieces; the partial file stays.

    Raises:
        LoadCancelledError: If it was stopped.
        ModelLoadError: If another program fetches it, or the hash is wrong.
        OSError: If the disk refuses.
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
    """Whether the network failed: no connection, a time-out, or one that was closed early.

    By name, since the hub library brings its own HTTP library, under changing names.
    """
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


class _Part:
    """What there is of the file, and its hash so far."""

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
        """Add a piece at the end."""
        self._stream.write(piece)
        self._note(piece)

    def restart(self) -> None:
        """Throw everything away."""
        self._stream.truncate(0)
        self._count(-self.have)
        self.have = 0
        self.digest = hashlib.sha256()

    def pause(self) -> None:
        """Wait a little, or until the user stops."""
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
    """Connect until the file has its size."""
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
        failures = failures + 1 if part.have <= before else 1
        if failures >= _ATTEMPTS:
            raise ConnectionError("the connection was closed early, again and again")
        part.pause()


def _append(url: str, part: _Part) -> None:
    """Fetch what is missing, as far as one connection brings it."""
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
