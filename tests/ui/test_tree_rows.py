"""The tree as rows: what is left out, what indents, what is folded."""

from __future__ import annotations

from tests.ui.branching import add, branched, long_chat
from tui_chat.chat.conversation import Conversation
from tui_chat.ui.screens.tree_rows import TreeRow, guides, parent_index, tree_rows


def rows_of(chat: Conversation, *folded: str) -> list[TreeRow]:
    return tree_rows(chat.messages(), [m.id for m in chat.path()], folded)


def test_only_forks_indent() -> None:
    assert {row.depth for row in rows_of(long_chat(500))} == {0}
    rows = rows_of(branched())
    assert [guides(row) for row in rows] == [
        "", "", "", "├─", "│ ", "│ ├─", "│ ╰─", "├─", "╰─", "  ", "  ",
    ]  # fmt: skip
    assert [row.forks for row in rows] == [1, 1, 3, 1, 2, 0, 0, 0, 1, 1, 0]
    assert [row.below for row in rows] == [10, 9, 8, 3, 2, 0, 0, 0, 2, 1, 0]


def test_the_active_path_and_its_end_are_marked() -> None:
    chat = branched()
    rows = rows_of(chat)
    assert [row.message.id for row in rows if row.is_active] == [m.id for m in chat.path()]
    assert [row.message.id for row in rows if row.is_end] == [chat.leaf_id]


def test_what_is_deleted_is_left_out_with_all_below_it() -> None:
    chat = branched()
    third = rows_of(chat)[8].message
    chat.delete(third.id)
    texts = [row.message.text for row in rows_of(chat)]
    assert len(texts) == 8 and third.text not in texts
    chat.delete(rows_of(chat)[7].message.id)
    assert rows_of(chat)[3].depth == 0, "what is the only version left is no fork"


def test_a_folded_message_hides_what_is_below_it() -> None:
    chat = branched()
    second = rows_of(chat)[2]
    rows = rows_of(chat, second.message.id)
    assert len(rows) == 3
    assert rows[2].is_folded and rows[2].below == 8
    end = rows_of(chat)[-1].message.id
    assert len(rows_of(chat, end)) == 11, "there is nothing to fold below the last message"


def test_versions_of_the_first_message_are_a_fork_at_the_top() -> None:
    chat = branched()
    add(chat, None, "Another beginning")
    rows = rows_of(chat)
    assert (guides(rows[0]), guides(rows[1])) == ("├─", "│ ")
    assert guides(rows[-1]) == "╰─"


def test_many_forks_are_shown_in_part() -> None:
    rows = rows_of(long_chat(400, 4))
    deep = rows[-1]
    assert deep.depth > 50
    assert len(guides(deep, most=5)) == 10
    assert guides(deep, most=5).endswith("› ")
    assert len(guides(deep, hidden=deep.depth - 3)) == 6


def test_the_way_back_to_a_fork() -> None:
    rows = rows_of(branched())
    assert parent_index(rows, 10) == 8, "to where the branch begins"
    assert parent_index(rows, 8) == 2, "and from there to the fork"
    assert parent_index(rows, 2) == 0
    assert parent_index(rows, 0) == 0
