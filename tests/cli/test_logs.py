"""The log: private, one line for each record, rotated, followed by other descriptors."""

from __future__ import annotations

import logging
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui_chat import logs


@pytest.fixture
def log(home: Path) -> Iterator[logs.LogFile]:
    """The configured log file."""
    before = logging.getLogger().level
    file = logs.configure({})
    assert file is not None
    yield file
    logging.getLogger().removeHandler(file)
    logging.getLogger().setLevel(before)
    logging.captureWarnings(False)
    file.close()


def text_of(log: logs.LogFile) -> str:
    log.flush()
    return Path(log.baseFilename).read_text()


def test_only_the_owner_can_read_it(log: logs.LogFile) -> None:
    path = Path(log.baseFilename)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_record_cannot_forge_another(log: logs.LogFile) -> None:
    logging.getLogger("x").warning("one\r\n2026-01-01 ERROR y: \x1b[31mforged\u202e")
    (line,) = text_of(log).splitlines()
    assert "\\r\\n2026" in line and "\x1b" not in line and "\u202e" not in line


def test_tracebacks_and_warnings_arrive(log: logs.LogFile) -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        logging.getLogger("x").exception("it broke")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", stacklevel=1)
    text = text_of(log)
    assert "Traceback" in text and "\x1b" not in text


def test_it_rotates_and_descriptors_follow(log: logs.LogFile) -> None:
    descriptor = os.dup(log.descriptor)
    try:
        log.follow(descriptor)
        for _ in range(40):
            logging.getLogger("x").warning("%s", "a" * 60_000)
        os.write(descriptor, b"from outside\n")
        log.unfollow()
    finally:
        os.close(descriptor)
    files = sorted(Path(log.baseFilename).parent.iterdir())
    assert [file.name for file in files] == ["tui-chat.log", "tui-chat.log.1", "tui-chat.log.2"]
    assert all(file.stat().st_size <= logs.MAX_BYTES for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert text_of(log).endswith("from outside\n")


def test_without_a_place_for_it_nothing_is_logged(home: Path) -> None:
    home.rmdir()
    home.write_text("in the way")
    assert logs.configure({}) is None
    logging.getLogger("x").error("into nothing")


@pytest.mark.parametrize(
    ("value", "level"),
    [("", logging.INFO), ("debug", logging.DEBUG), (" Error ", logging.ERROR), ("x", logging.INFO)],
)
def test_the_level_is_named_by_a_variable(value: str, level: int) -> None:
    assert logs.level_named(value) == level
    problem = logs.level_problem({"TUI_CHAT_LOG": value})
    assert (problem is not None) == (value == "x")
