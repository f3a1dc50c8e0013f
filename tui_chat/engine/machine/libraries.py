"""Keeps the libraries quiet: no progress bars, no telemetry, no background traffic, one log.

Owns the environment variables and the logging of torch, transformers, huggingface_hub and
bitsandbytes. Call `configure_libraries` before any of them is imported; it can be called again.
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ENVIRONMENT = {
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # else a .bin may start a thread that goes online
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1",
    "TOKENIZERS_PARALLELISM": "false",  # forking after use warns on the screen
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
    """Route what libraries say to the `tui_chat` logger, and switch off what they draw and send.

    Variables that the user has set are kept.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
    logging.getLogger("tui_chat").addHandler(_NOWHERE)  # without a log file, nothing on the screen
    target = logging.getLogger("tui_chat.libraries")
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [_Forward(target)]
        logger.propagate = False
    # The first says it for every layer or every token; the others, when torchao is imported, what
    # it has no use for here.
    for name in ("bitsandbytes.autograd._functions", "torch.utils._pytree", "torchao"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def importing() -> Iterator[None]:
    """Import libraries without looking for garbage meanwhile: that took a quarter of the time.

    They leave a million objects behind, which stay. Looking through them would hold every thread
    for a quarter of a second, now and then in the middle of a reply: they are put aside for good.
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
    """Switch off the bars of transformers, which has to be imported for that."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


class _Forward(logging.Handler):
    """Hands records to another logger, so that they end in the one log file or nowhere."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        if self._target.isEnabledFor(record.levelno):
            self._target.handle(record)
