"""Turns exceptions of the engine into `Failed` events, which hold text only.

An exception refers to its traceback, the traceback to its frames, and those to the model: whoever
stored the exception would keep gigabytes of weights alive.
"""

from __future__ import annotations

from tui_chat.chat.events import Failed, FailureCode
from tui_chat.errors import Remedy, TuiChatError

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_DEVICE_LOST = ("cuda error", "device-side assert", "cublas_status", "hip error", "device lost")
_BAD_NUMBERS = ("probability tensor contains",)


def failure_code(error: BaseException) -> FailureCode:
    """Return the code of the failure that an exception stands for.

    torch raises most of them as a plain `RuntimeError`, so the message decides.
    """
    if isinstance(error, TuiChatError):
        return error.code  # type: ignore[return-value]  # each class names one of the codes
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY):
        return "oom"
    if type(error).__name__ == "AcceleratorError" or any(sign in text for sign in _DEVICE_LOST):
        return "device_lost"
    if any(sign in text for sign in _BAD_NUMBERS):
        return "bad_numbers"
    return "internal"


_WORDS: dict[FailureCode, tuple[str, str, Remedy | None]] = {  # title, hint, remedy
    "oom": (
        "The device ran out of memory",
        "Choose a shorter context, or 8bit or 4bit",
        Remedy.CHOOSE_PRECISION,
    ),
    "device_lost": (
        "The device stopped working",
        "The chat is saved; restart the program to go on",
        None,
    ),
    "bad_numbers": (
        "The model computed numbers that are not finite",
        "Try bf16 or fp32",
        Remedy.CHOOSE_PRECISION,
    ),
    "internal": ("The reply failed", "Send it again; the log has more", Remedy.OPEN_LOG),
}


def failure_event(error: BaseException) -> Failed:
    """Return the event that describes an exception, without a reference to the exception."""
    code = failure_code(error)
    if isinstance(error, TuiChatError):
        return Failed(code, error.title, error.detail, error.hint, error.remedy)
    title, hint, remedy = _WORDS[code]
    lines = str(error).strip().splitlines()
    detail = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return Failed(code, title, detail, hint, remedy)


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of an exception and of its causes and contexts."""
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is not None and current.__traceback__ is not None:
            current.__traceback__ = None
            pending += [current.__cause__, current.__context__]
