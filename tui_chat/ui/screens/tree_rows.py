"""The layout of a chat's tree as rows, one per message, in which only forks indent.

Messages without a fork between them stand below each other at the same depth, so depth shows the
number of choices and not the length of the chat. This module computes the order of the rows, the
folding and the guide lines; `tree_line` draws the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tui_chat.chat.conversation import Message


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """A branch that starts at a fork. All rows of the branch share one object."""

    above: Branch | None
    """The branch that contains the fork; None for a fork outside any branch."""
    depth: int
    """Number of forks above the branch, at least 1."""
    is_last: bool
    """Whether it is the last branch of its fork."""


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A message and its place in the tree."""

    message: Message
    branch: Branch | None
    """The branch of the message; None if it has no fork above it."""
    begins: bool
    """Whether it is the first message of its branch."""
    forks: int
    """Number of its children; a fork has 2 or more."""
    below: int
    """Number of its descendants."""
    is_folded: bool
    is_active: bool
    """Whether it is on the active path."""
    is_end: bool
    """Whether the active path ends here."""

    @property
    def depth(self) -> int:
        """Number of forks above the message."""
        return self.branch.depth if self.branch is not None else 0


def tree_rows(
    messages: Iterable[Message],
    active: Sequence[str],
    folded: Collection[str] = (),
) -> list[TreeRow]:
    """Return the rows of a tree, depth first, with the oldest branch of a fork first.

    Args:
        messages: All messages of the tree, parents before children. Deleted messages are left out
            together with their descendants.
        active: Ids of the messages on the active path, oldest first.
        folded: Ids of the messages whose descendants are hidden.
    """
    visible: dict[str, Message] = {}
    children: dict[str | None, list[Message]] = {None: []}
    for message in messages:
        if message.deleted or (message.parent_id is not None and message.parent_id not in visible):
            continue
        visible[message.id] = message
        children.setdefault(message.parent_id, []).append(message)
    # Parents precede children, so in reverse every count is complete before it is added upwards.
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
    """Return sibling messages with their branches and whether they begin them, the last one first.

    An only child continues the branch of its parent. The order is reversed because `tree_rows`
    pops from the end of its stack.
    """
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
    """Return the guide lines before a row, two cells for each fork above it.

    Args:
        row: The row.
        hidden: Number of the outermost fork levels to leave out at the left.
        most: Most levels to show. If there are more, the innermost are replaced by `› `.
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
    """Return the index of the row to go to from a row to move towards the root.

    From the first message of a branch this is the fork, from any other message the first message
    of its branch. Without a branch it is 0.
    """
    row = rows[index]
    if row.begins:
        parent = row.message.parent_id
        while index > 0 and rows[index].message.id != parent:
            index -= 1
        return index
    while index > 0 and not (rows[index].begins and rows[index].branch is row.branch):
        index -= 1
    return index
