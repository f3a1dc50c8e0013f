"""Spill files: changes that could not be saved, kept until the database accepts them.

A spill file lies in the first of these folders that can be written: that of the database, the cache
folder, the folder for temporary files. The next start of the program imports it, once. On import, a
chat header does not replace a newer one, nor an unfinished message a finished one; all other
changes are applied as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_chat.chat.conversation import Message
from tui_chat.config.paths import cache_dir, private_dir
from tui_chat.errors import StoreError
from tui_chat.storage.atomic import write_atomically
from tui_chat.storage.database.connection import is_environment
from tui_chat.storage.database.leases import is_live
from tui_chat.storage.database.records import ChatHeader, utc_text, utc_time
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.saving.pending import (
    Change,
    DeleteChat,
    DiscardMessage,
    MarkDeleted,
    Rename,
    SaveHeader,
    SaveMessage,
    SetLeaf,
)

VERSION = 1
"""Version of the file format; other versions are not imported."""


def spill_file_name(database: Path, owner: str) -> str:
    """Return the name of the spill file of one process for one database.

    Args:
        database: The database file.
        owner: `ProcessLease.owner` of the process.
    """
    return f"{_prefix(database)}{owner}.json"


def write_spill(
    database: Path, owner: str, changes: Iterable[Change], before: Path | None = None
) -> Path:
    """Write changes to a spill file, replacing the earlier one of this process.

    Args:
        database: The database to which the changes belong.
        owner: `ProcessLease.owner` of this process.
        changes: The changes, oldest first.
        before: The earlier spill file of this process, if any. It is removed if the new one is in
            another folder.

    Returns:
        The file.

    Raises:
        StoreError: If none of the folders can be written.
        TypeError: If a change is a `Checkpoint`, which writes nothing.
    """
    operations = [_values(change) for change in changes]
    text = json.dumps({"tui_chat_unsaved": VERSION, "changes": operations}, default=str)
    problem = StoreError("The unsaved changes cannot be written to any file")
    for folder in _folders(database):
        target = folder / spill_file_name(database, owner)
        try:
            private_dir(folder)
            write_atomically(target, text, overwrite=True, mode=0o600)
        except (OSError, StoreError) as error:
            problem.detail = error.one_line if isinstance(error, StoreError) else str(error)
            continue
        if before is not None and before != target:
            with suppress(OSError):
                before.unlink()
        return target
    raise problem


def waiting_spills(database: Path) -> list[Path]:
    """Return the spill files for a database whose processes have ended, oldest first."""
    found: list[tuple[float, Path]] = []
    prefix = _prefix(database)
    for folder in _folders(database):
        try:
            names = [name for name in os.listdir(folder) if name.startswith(prefix)]
        except OSError:
            continue
        for name in names:
            path = folder / name
            owner = name.removeprefix(prefix).removesuffix(".json")
            with suppress(OSError):
                facts = path.lstat()
                # Others can write to the folder for temporary files: trust only regular files that
                # belong to this user.
                own = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.getuid()
                if name.endswith(".json") and own and not is_live(database, owner):
                    found.append((facts.st_mtime, path))
    return [path for _, path in sorted(found)]


def import_spill(store: TranscriptStore, path: Path) -> int:
    """Save the changes of a spill file in one transaction and remove the file.

    Args:
        store: The open database.
        path: The spill file.

    Returns:
        The number of changes; 0 for a file that was imported before but could not be removed.

    Raises:
        StoreError: If the file cannot be read or its changes are invalid. It is renamed, so that
            the next start does not try it again.
        sqlite3.Error: If the disk or the database prevents the commit; the file stays.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        if data["tui_chat_unsaved"] != VERSION:
            raise ValueError("it was written by another version")
        changes = [_change(values) for values in data["changes"]]
        name = f"{path.name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
        with store.change():
            if store.claim_import(name):
                for change in changes:
                    _apply_unless_older(store, change)
            else:
                changes = []
    except Exception as error:  # no error in the file may stop the start of the program
        if isinstance(error, sqlite3.Error) and is_environment(error):
            raise
        aside = path.with_suffix(".unreadable")
        with suppress(OSError):
            os.rename(path, aside)
        raise StoreError(
            f"Unsaved changes in {aside} cannot be read", str(error), "The file is kept"
        ) from error
    with suppress(OSError):
        path.unlink()
    return len(changes)


def _apply_unless_older(store: TranscriptStore, change: Change) -> None:
    """Apply a change of an ended process, unless the database has a newer header or message."""
    if isinstance(change, SaveHeader):
        stored = store.stored_update(change.chat_id)
        if stored is not None and stored > change.header.updated:
            return
    if isinstance(change, SaveMessage) and change.message.is_unfinished:
        status = store.stored_status(change.chat_id, change.message.id)
        if status not in (None, "streaming", "waiting", "interrupted"):
            return
        change = SaveMessage(change.chat_id, replace(change.message, status="interrupted"))
    change.apply(store)


def _folders(database: Path) -> list[Path]:
    return [database.parent, cache_dir(), Path(tempfile.gettempdir())]


def _prefix(database: Path) -> str:
    tag = hashlib.sha256(os.path.realpath(database).encode(errors="replace")).hexdigest()[:12]
    return f"tui-chat-unsaved-{tag}-"


def _values(change: Change) -> dict[str, Any]:
    """Return a change as JSON values."""
    kind = type(change).__name__
    if isinstance(change, SaveHeader):
        header = change.header
        return {
            "kind": kind,
            "id": header.id,
            "title": header.title,
            "system": header.system,
            "model": header.model,
            "created": utc_text(header.created),
            "updated": utc_text(header.updated),
            "leaf": header.leaf,
            "params": None if header.params is None else dict(header.params),
            "details": dict(header.details),
            "history": dict(header.history),
            "working": dict(header.working),
        }
    if isinstance(change, SaveMessage):
        from tui_chat.storage.formats.ours.json_format import message_values

        return {"kind": kind, "chat": change.chat_id, "message": message_values(change.message)}
    if isinstance(change, MarkDeleted):
        ids = list(change.message_ids)
        return {"kind": kind, "chat": change.chat_id, "ids": ids, "deleted": change.deleted}
    if isinstance(change, DiscardMessage):
        return {"kind": kind, "chat": change.chat_id, "id": change.message_id}
    if isinstance(change, SetLeaf):
        return {"kind": kind, "chat": change.chat_id, "leaf": change.leaf}
    if isinstance(change, Rename):
        return {"kind": kind, "chat": change.chat_id, "title": change.title}
    if isinstance(change, DeleteChat):
        return {"kind": kind, "chat": change.chat_id, "deleted": change.deleted}
    raise TypeError(f"{kind} has no form in a file")


def _header(values: Mapping[str, Any]) -> ChatHeader:
    return ChatHeader(
        str(values["id"]),
        str(values["title"]),
        str(values["system"]),
        str(values["model"]),
        utc_time(values["created"]),
        utc_time(values["updated"]),
        values["leaf"],
        values["params"],
        values.get("details", {}),
        values.get("history", {}),
        values.get("working", {}),
    )


def _saved_message(values: Mapping[str, Any]) -> Message:
    from tui_chat.storage.formats.ours.json_format import message_from_values

    return message_from_values(values["message"])


_READERS: dict[str, Callable[[Mapping[str, Any]], Change]] = {
    "SaveHeader": lambda v: SaveHeader(_header(v)),
    "SaveMessage": lambda v: SaveMessage(v["chat"], _saved_message(v)),
    "MarkDeleted": lambda v: MarkDeleted(v["chat"], tuple(v["ids"]), bool(v["deleted"])),
    "DiscardMessage": lambda v: DiscardMessage(v["chat"], v["id"]),
    "SetLeaf": lambda v: SetLeaf(v["chat"], v["leaf"]),
    "Rename": lambda v: Rename(v["chat"], str(v["title"])),
    "DeleteChat": lambda v: DeleteChat(v["chat"], bool(v["deleted"])),
}


def _change(values: Mapping[str, Any]) -> Change:
    """Return the change of a result of `_values`."""
    return _READERS[values["kind"]](values)
