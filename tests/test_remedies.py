"""What to do about an error, in the words of each front end: the key in force, or what to type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tui_chat.chat
import tui_chat.engine
import tui_chat.session
import tui_chat.storage
from tests.ui.chat_app import chat_app, running, until
from tui_chat.actions import ACTIONS, action_by_id
from tui_chat.engine.replies.sampling import BadNumbersError
from tui_chat.errors import BusyError, ModelNotFoundError, Remedy, TuiChatError, remedied
from tui_chat.storage.save_state import Notice
from tui_chat.terminal.shell_remedies import in_shell
from tui_chat.ui.remedies import in_screens, place_of

SLASH = "|".join(sorted({action.command for action in ACTIONS if action.slash}))
OF_A_FRONT_END = re.compile(
    rf"\bF\d{{1,2}}\b|Ctrl\+|\bEsc\b|[Pp]ress |`tui-chat |(?<![\w/.<])(?:{SLASH})(?![\w/])"
)
NAMES = {"F16", "F32", "F64", "F8"}
"""Data types of weights."""


def strings(path: Path) -> Iterator[str]:
    """The strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {
        id(node.value) for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def test_no_room_below_the_front_ends_names_a_key_or_a_command() -> None:
    rooms = (tui_chat.chat, tui_chat.engine, tui_chat.session, tui_chat.storage)
    found = [
        (path.name, text)
        for room in rooms
        for path in Path(room.__path__[0]).rglob("*.py")
        for text in strings(path)
        if text not in NAMES and OF_A_FRONT_END.search(text)
    ]
    assert not found


@pytest.mark.parametrize("remedy", Remedy)
async def test_the_screens_have_a_key_or_a_command_for_each(remedy: Remedy) -> None:
    assert action_by_id(remedy).id == remedy
    async with running(app := chat_app()):
        assert place_of(remedy, app)


async def test_the_screens_name_the_key_that_is_in_force() -> None:
    app = chat_app(keys={"model": ("f7",)})
    async with running(app) as pilot:
        await app.run_command("model", "no-such-model")
        await until(pilot, lambda: "F7" in told(app))
        assert "F3" not in told(app) and "tui-chat " not in told(app)


async def test_without_a_key_the_command_is_named() -> None:
    app = chat_app(keys={"model": ()})
    async with running(app):
        error = in_screens(TuiChatError("x", "", "Choose one", Remedy.CHOOSE_MODEL), app)
        assert error.hint == "Choose one (/model)"


def test_an_error_keeps_what_it_is() -> None:
    for error in (BadNumbersError(), BusyError("x", "", "Stop it first", Remedy.STOP_REPLY)):
        worded = in_shell(error)
        assert type(worded) is type(error) and worded.title == error.title
        assert worded.code == error.code and worded.hint != error.hint and worded.remedy is None


def told(app: object) -> str:
    """The notices that are up."""
    return "\n".join(notice.message for notice in app.toasts.present)  # type: ignore[attr-defined]


def test_the_shell_is_told_what_to_type() -> None:
    error = ModelNotFoundError("There is no model 'x'", "", "See the list", Remedy.CHOOSE_MODEL)
    assert "`tui-chat models list`" in in_shell(error).one_line
    plain = ModelNotFoundError("There is no model 'x'", "", "Did you mean y?")
    assert in_shell(plain) is plain


def test_a_hint_without_a_place_stays_as_it_is() -> None:
    assert remedied("Go on in a copy of it", "") == "Go on in a copy of it"
    assert remedied("", "F3") == ""
    notice = Notice("in use", "It is open elsewhere.", hint="Copy it", remedy=Remedy.COPY_CHAT)
    assert notice.worded("/fork") == "It is open elsewhere. Copy it (/fork)."
    assert notice.worded("") == "It is open elsewhere. Copy it."
