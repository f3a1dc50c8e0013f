"""Configures the libraries: no progress bars, telemetry or background traffic, and a single log.

It sets environment variables and loggers of torch, transformers, huggingface_hub, bitsandbytes and
others. Call `configure_libraries` before importing any of them; it may be called repeatedly.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ENVIRONMENT = {
    # Otherwise loading a .bin file may start a thread that goes online.
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1",
    "TOKENIZERS_PARALLELISM": "false",  # otherwise a fork prints a warning over the screen
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "warning",
    "BITSANDBYTES_NOWELCOME": "1",
}
_NOWHERE = logging.NullHandler()
_LOGGERS = (
    "transformers",
    "huggingface_hub",
    "bitsandbytes",
    "accelerate",
    "torch",
    "torchao",
    "py.warnings",
)


def configure_libraries() -> None:
    """Route the libraries' logs to the logger `tui_chat.libraries`, and disable bars and telemetry.

    Environment variables that the user has set keep their values.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    logging.getLogger("tui_chat").addHandler(_NOWHERE)  # else logging prints to the screen
    target = logging.getLogger("tui_chat.libraries")
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [_Forward(target)]
        logger.propagate = False
    # The first repeats its warning for every layer or token. The other two warn while torchao is
    # imported, about features that are not used here.
    for name in ("bitsandbytes.autograd._functions", "torch.utils._pytree", "torchao"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def importing() -> Iterator[None]:
    """Suspend garbage collection during imports, which takes a quarter of their time.

    Afterwards all objects are frozen (`gc.freeze`). Imports leave about a million objects that stay
    alive; each full collection would examine them and stop every thread for a quarter of a second,
    sometimes in the middle of a reply.
    """
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_collecting:
            gc.enable()


def silence_progress_bars() -> None:
    """Disable the progress bars of transformers, which this imports."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


class _Forward(logging.Handler):
    """Passes log records to another logger, so that they go to the log file or nowhere."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        if self._target.isEnabledFor(record.levelno):
            self._target.handle(record)
