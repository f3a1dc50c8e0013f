"""The tree of a chat as rows, one for each message: only forks indent.

Owns the order of the rows, what is folded, and the lines drawn before them. A message with one
answer stands right above it, however long that goes on, so that depth tells of choices and not of
length. Refuses to know how a row looks otherwise, and to read more than it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tui_chat.chat.conversation import Message


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One of the ways that lead on from a fork; its rows share it."""

    above: Branch | None
    """The branch that the fork is in; None at the top."""
    depth: int
    """Forks above it, counted from 1."""
    is_last: bool
    """Whether no other way from the same fork comes after it."""


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A message and its place in the tree."""

    message: Message
    branch: Branch | None
    """None where no fork is above."""
    begins: bool
    """Whether it is the first message of its branch."""
    forks: int
    """Ways that lead on from it."""
    below: int
    """Messages below it."""
    is_folded: bool
    is_active: bool
    """Whether it is on the active path."""
    is_end: bool
    """Whether the active path ends here."""

    @property
    def depth(self) -> int:
        """Forks above it."""
        return self.branch.depth if self.branch is not None else 0


def tree_rows(
    messages: Iterable[Message],
    active: Sequence[str],
    folded: Collection[str] = (),
) -> list[TreeRow]:
    """Every message that is to be seen, a branch after the other, the oldest first.

    Args:
        messages: All of a tree, parents before children. Deleted ones are left out with all that
            is below them.
        active: Ids of the active path, oldest first.
        folded: Ids of messages below which nothing is shown.
    """
    visible: dict[str, Message] = {}
    children: dict[str | None, list[Message]] = {None: []}
    for message in messages:
        if message.deleted or (message.parent_id is not None and message.parent_id not in visible):
            continue
        visible[message.id] = message
        children.setdefault(message.parent_id, []).append(message)
    below = dict.fromkeys(visible, 0)
    for message in reversed(visible.values()):
        if message.parent_id is not None:
            below[message.parent_id] += below[message.id] + 1
    on_path = frozenset(active)
    end = active[-1] if active else None
    rows: list[TreeRow] = []
    pending = _ways(children[None], None)
    while pending:
        message, branch, begins = pending.pop()
        ways = children.get(message.id, [])
        is_folded = bool(ways) and message.id in folded
        rows.append(
            TreeRow(
                message=message,
                branch=branch,
                begins=begins,
                forks=len(ways),
                below=below[message.id],
                is_folded=is_folded,
                is_active=message.id in on_path,
                is_end=message.id == end,
            )
        )
        if not is_folded:
            pending += _ways(ways, branch)
    return rows


def _ways(
    messages: Sequence[Message], branch: Branch | None
) -> list[tuple[Message, Branch | None, bool]]:
    """Messages with their branches, the last one first: a single one goes on in the same branch."""
    if len(messages) == 1:
        return [(messages[0], branch, False)]
    depth = branch.depth + 1 if branch is not None else 1
    last = len(messages) - 1
    ways: list[tuple[Message, Branch | None, bool]] = [
        (message, Branch(branch, depth, index == last), True)
        for index, message in enumerate(messages)
    ]
    return ways[::-1]


def guides(row: TreeRow, hidden: int = 0, most: int = 1_000_000) -> str:
    """The lines before a row that lead the eye to its fork; two cells for each fork above it.

    Args:
        row: Whose they are.
        hidden: How many of the outermost forks are out of view, at the left.
        most: How many can be shown; deeper ones are cut, at the right.
    """
    pieces: list[str] = []
    branch, begins = row.branch, row.begins
    while branch is not None and branch.depth > hidden:
        if begins:
            pieces.append("╰─" if branch.is_last else "├─")
        else:
            pieces.append("  " if branch.is_last else "│ ")
        branch, begins = branch.above, False
    pieces.reverse()
    if len(pieces) > most:
        return "".join(pieces[: max(0, most - 1)]) + "› "
    return "".join(pieces)


def parent_index(rows: Sequence[TreeRow], index: int) -> int:
    """The row at which the branch of a row forks off; the first row where there is none."""
    row = rows[index]
    if row.begins:
        parent = row.message.parent_id
        while index > 0 and rows[index].message.id != parent:
            index -= 1
        return index
    while index > 0 and not (rows[index].begins and rows[index].branch is row.branch):
        index -= 1
    return index
