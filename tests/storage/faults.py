"""Connections that fail on purpose, at the boundary to SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

_WRITES = ("BEGIN", "INSERT", "UPDATE", "DELETE", "WITH", "COMMIT", "PRAGMA USER_VERSION =")


def sqlite_error(code: int, text: str = "injected") -> sqlite3.OperationalError:
    """An error as SQLite would raise it."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def failing_connection(
    fault: Callable[[int, str], Exception | None],
) -> type[sqlite3.Connection]:
    """A connection class that asks before every writing statement whether it fails.

    Args:
        fault: Gets the number of the write, from 1, over all connections of the class, and the
            statement; returns the error to raise, or None.
    """
    count = 0

    class FailingConnection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            nonlocal count
            statement = sql.strip()
            if statement.upper().startswith(_WRITES):
                count += 1
                error = fault(count, statement)
                if error is not None:
                    raise error
            return super().execute(sql, *args)

    return FailingConnection
