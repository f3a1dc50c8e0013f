"""Building of message trees from flat messages in any order.

In a file of flat messages, each message names only its parent. This module collects all messages
in a temporary SQLite database on the disk, so that memory holds one tree at a time. Messages that
belong to no tree are reported with their line numbers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from tui_chat.chat.conversation import Conversation
from tui_chat.safe_text import safe_line
from tui_chat.storage.formats.lines import Refuse
from tui_chat.storage.formats.oasst.reading import chat_of_messages, flat_row

_SCHEMA = """
    PRAGMA journal_mode = OFF;
    PRAGMA cache_size = -4000;
    PRAGMA temp_store = FILE;
    CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE rows (
        seq INTEGER PRIMARY KEY, line INTEGER, id TEXT UNIQUE, parent TEXT, tree TEXT, root TEXT,
        depth INTEGER, reason TEXT, content TEXT
    );
"""
# Give every message that is connected to a root of the same tree its root and its depth.
_PLACE = """
    WITH RECURSIVE placed (id, root, tree, depth) AS (
        SELECT id, id, tree, 0 FROM rows WHERE parent IS NULL
        UNION ALL
        SELECT rows.id, placed.root, placed.tree, placed.depth + 1
        FROM placed JOIN rows ON rows.parent = placed.id AND rows.tree IS placed.tree
    )
    UPDATE rows SET root = placed.root, depth = placed.depth FROM placed WHERE rows.id = placed.id
"""
# Give the messages below a refused message a reason as well. `_refuse_lost` runs this before it
# looks for cycles, so that whatever has no root and no reason afterwards is in or below a cycle.
_SPREAD = """
    WITH RECURSIVE lost (id, reason) AS (
        SELECT id, reason FROM rows WHERE reason IS NOT NULL
        UNION ALL
        SELECT rows.id, 'it is below a message that is not imported'
        FROM lost JOIN rows ON rows.parent = lost.id AND rows.reason IS NULL
    )
    UPDATE rows SET reason = lost.reason FROM lost WHERE rows.id = lost.id AND rows.reason IS NULL
"""


class FlatMessages:
    """The flat messages of one file, and the message ids of its nested trees.

    The `with` statement removes the temporary database.

    Args:
        refuse: Called for each message or tree that is not imported.
    """

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse
        self.is_waiting = False
        """Whether `add` has collected messages for `chats` to return."""
        self._database = sqlite3.connect("", isolation_level=None)  # a temporary file
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def first_doubled(self, conversation: Conversation) -> str | None:
        """Return the first message id that an earlier tree of the file also has.

        If there is none, this records the ids of the chat for later calls and returns None.
        """
        ids = [(message.id,) for message in conversation.messages()]
        for row in ids:
            if self._database.execute("SELECT 1 FROM seen WHERE id = ?", row).fetchone():
                return row[0]
        self._database.executemany("INSERT INTO seen VALUES (?)", ids)
        return None

    def add(self, line: int, row: Mapping[str, Any]) -> None:
        """Collect a flat message, or report it if it is malformed or its id is a duplicate.

        Args:
            line: Number of its line.
            row: Its fields.
        """
        try:
            clean = flat_row(row)
        except ValueError as error:
            self._refuse(line, f"The message is refused: {error}")
            return
        identifier, tree = clean["message_id"], clean.get("message_tree_id")
        place = (clean.get("parent_id"), tree if isinstance(tree, str) else None)
        values = (line, identifier, *place)
        added = self._database.execute(
            "INSERT OR IGNORE INTO rows (line, id, parent, tree, content) VALUES (?, ?, ?, ?, ?)",
            (*values, json.dumps(clean)),
        )
        self.is_waiting = True
        if not added.rowcount:
            self._refuse(line, f"Message {safe_line(identifier, 80)} is there twice")

    def chats(
        self, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Iterator[tuple[int, Conversation]]:
        """Yield the chat of each tree with the number of its root's line.

        Messages that belong to no tree are reported first.

        Args:
            progress: Called with the number of messages done and the number of all messages.
        """
        run = self._database.execute
        (total,) = run("SELECT count(*) FROM rows").fetchone()
        if not total:
            return
        run("CREATE INDEX by_parent ON rows (parent)")
        run(_PLACE)
        self._refuse_lost()
        run("CREATE INDEX by_root ON rows (root)")
        (done,) = run("SELECT count(*) FROM rows WHERE root IS NULL").fetchone()
        roots = run("SELECT line, id FROM rows WHERE root = id ORDER BY seq")
        for line, root in roots:
            progress(done, total)
            try:
                conversation = chat_of_messages(self._rows_below(root))
            except ValueError as error:
                self._refuse(line, f"The tree is refused: {error}")
                continue
            yield line, conversation
            done += len(conversation)

    def _rows_below(self, root: str) -> Iterator[Mapping[str, Any]]:
        rows = self._database.execute(
            "SELECT content FROM rows WHERE root = ? ORDER BY depth, seq", (root,)
        )
        for (content,) in rows:
            yield json.loads(content)

    def _refuse_lost(self) -> None:
        run = self._database.execute
        run(
            "UPDATE rows SET reason = CASE WHEN parent IN (SELECT id FROM rows)"
            " THEN 'its parent is in another tree' ELSE 'its parent is missing' END"
            " WHERE root IS NULL AND NOT EXISTS"
            " (SELECT 1 FROM rows AS above WHERE above.id = rows.parent"
            " AND above.tree IS rows.tree)"
        )
        run(_SPREAD)
        run("UPDATE rows SET reason = 'it is below itself' WHERE root IS NULL AND reason IS NULL")
        lost = run("SELECT line, id, reason FROM rows WHERE reason IS NOT NULL ORDER BY seq")
        for line, identifier, reason in lost:
            self._refuse(line, f"Message {safe_line(identifier, 80)} is refused: {reason}")
