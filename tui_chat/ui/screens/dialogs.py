"""Small dialogs: yes or no, a text field, a link to confirm, and the menu of a message.

The dialogs only return the answer; the caller acts on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.types import CSSPathType
from textual.widgets import Button, Input, Static

from tui_chat.actions import Action, action_by_id
from tui_chat.ui.keys.names import keys_of, pressed_keys
from tui_chat.ui.plain_text import plain, plain_line
from tui_chat.ui.screens.sheet import CLOSE, ListSheet, Sheet
from tui_chat.ui.textual_fixes.text_area import TextArea
from tui_chat.ui.transcript.links import read_link
from tui_chat.ui.widgets.choice_list import ChoiceList
from tui_chat.ui.widgets.field import Field
from tui_chat.ui.widgets.line_view import fitted

Check = Callable[[str], str]
"""Returns what is wrong with a typed text; empty if it is valid."""


class _Answers(Horizontal):
    """A row of buttons between which the arrow keys move the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]


def _button(label: str, name: str) -> Button:
    return Button(plain_line(label), name=name, compact=True)


class ConfirmScreen(Sheet[bool]):
    """A question with two answers; the result is True for yes. Closing it means no.

    Args:
        question: The question in a few words, with a question mark.
        yes: Label of the answer that goes ahead.
        no: Label of the answer that changes nothing.
        detail: A sentence on what would happen.
        is_safe: Whether the yes button has the focus at first, so that Enter means yes.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "dialogs.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm_yes"),
        Binding("n", "answer(False)", "No", id="confirm_no"),
        CLOSE,
    ]

    def __init__(
        self,
        question: str,
        yes: str = "Yes",
        no: str = "No",
        detail: str = "",
        is_safe: bool = False,
    ) -> None:
        super().__init__(question)
        self._yes, self._no, self._detail, self._is_safe = yes, no, detail, is_safe

    def compose_body(self) -> ComposeResult:
        """Compose the detail and the two buttons."""
        if self._detail:
            yield Static(plain(self._detail), classes="dialog-text")
        with _Answers(classes="dialog-answers"):
            yield _button(self._yes, "yes")
            yield _button(self._no, "no")

    def on_mount(self) -> None:
        """Focus the no button, or the yes button if yes is safe."""
        super().on_mount()
        yes, no = self.query(Button)
        (yes if self._is_safe else no).focus()

    def action_answer(self, answer: bool) -> None:
        """Close with an answer."""
        self.dismiss(answer)

    def action_close(self) -> None:
        """Close with no as the answer."""
        self.dismiss(False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.name == "yes")


class _Text(TextArea):
    """A text area that leaves Enter to the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("shift+enter,ctrl+j,alt+enter", "new_line", "New line", key_display="^J")
    ]

    def action_new_line(self) -> None:
        """Insert a line break."""
        self.insert("\n")

    def on_key(self, event: events.Key) -> None:
        """Keep the text area from inserting a line break on Enter."""
        if event.key == "enter":
            event.prevent_default()


class InputScreen(Sheet[str]):
    """Asks for a text; the result is the text.

    Args:
        title: The title of the dialog.
        value: The initial text.
        hint: A hint below the field.
        validate: Checks the text on Enter. While it returns a problem, the dialog shows that in
            place of the hint and stays open.
        is_multiline: Whether the text can have several lines. Enter accepts the text in either
            case; Ctrl+J inserts a line break.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "dialogs.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep", id="input_keep"),
        CLOSE,
    ]

    def __init__(
        self,
        title: str,
        value: str = "",
        hint: str = "",
        validate: Check | None = None,
        is_multiline: bool = False,
    ) -> None:
        super().__init__(title)
        self._value, self._hint = value, hint
        self._validate = validate
        self._is_multiline = is_multiline
        self._refused: str | None = None

    def compose_body(self) -> ComposeResult:
        """Compose the field and the hint."""
        if self._is_multiline:
            yield _Text(self._value, id="field", soft_wrap=True, compact=True)
        else:
            yield Field(self._value, id="field", compact=True, select_on_focus=False)
        yield Static(plain(self._hint), id="hint", classes="dialog-text")

    def on_mount(self) -> None:
        """Focus the field, with the cursor at the end of the text."""
        super().on_mount()
        field = self.query_one("#field")
        field.focus()
        if isinstance(field, TextArea):
            field.move_cursor(field.document.end)

    @property
    def value(self) -> str:
        """The text in the field."""
        if self._is_multiline:
            return self.query_one("#field", TextArea).text
        return self.query_one("#field", Input).value

    def action_submit(self) -> None:
        """Close with the text, or show what is wrong with it."""
        problem = self._validate(self.value) if self._validate is not None else ""
        if problem:
            self._refused = self.value
            self._show_hint(problem, is_problem=True)
        else:
            self.dismiss(self.value)

    def _show_hint(self, text: str, is_problem: bool = False) -> None:
        hint = self.query_one("#hint", Static)
        hint.update(plain(text))
        hint.set_class(is_problem, "-problem")

    @on(Input.Changed)
    @on(TextArea.Changed)
    def _typing(self) -> None:
        if self.value != self._refused:
            self._refused = None
            self._show_hint(self._hint)


class LinkScreen(Sheet[Literal["open", "copy"]]):
    """Shows the real target of a link, and asks whether to open or copy it.

    Args:
        url: The address, which need not be trusted. If `read_link` finds a problem with it, the
            dialog only offers to copy it.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "dialogs.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open", id="link_open"),
        Binding("c,y", "copy", "Copy", id="link_copy"),
        CLOSE,
    ]

    def __init__(self, url: str) -> None:
        self._link = read_link(url)
        super().__init__(
            "This link is not opened" if self._link.problem else "Open this link in the browser?"
        )

    def compose_body(self) -> ComposeResult:
        """Compose the host, the whole address, any warning, and the buttons."""
        link = self._link
        if link.problem:
            yield Static(plain(f"{link.problem}."), classes="dialog-text -warning")
        else:
            yield Static(plain(link.host), id="link-host", classes="dialog-text")
        yield Static(plain(link.shown), id="link-address", classes="dialog-text")
        if link.warning:
            yield Static(plain(f"{link.warning}."), classes="dialog-text -warning")
        with _Answers(classes="dialog-answers"):
            if not link.problem:
                yield _button("Open", "open")
            yield _button("Copy", "copy")
            yield _button("Leave", "leave")

    def on_mount(self) -> None:
        """Focus the open button, or the leave button if the link is doubtful."""
        super().on_mount()
        doubtful = self._link.problem or self._link.warning
        buttons = list(self.query(Button))
        (buttons[-1] if doubtful else buttons[0]).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable opening a link that has a problem."""
        return not (action == "open" and self._link.problem)

    def action_open(self) -> None:
        """Close with `open` as the answer."""
        self.dismiss("open")

    def action_copy(self) -> None:
        """Close with `copy` as the answer."""
        self.dismiss("copy")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        name = event.button.name
        self.dismiss("open" if name == "open" else "copy" if name == "copy" else None)


class MessageMenu(ListSheet[str]):
    """The actions and facts of a message; the result is the id of the chosen action.

    Args:
        facts: Names and values, as `ui.transcript.message_facts.message_facts` returns them.
        action_ids: Ids of the actions that are available now, in the order to show them.
        title: The title of the menu.
    """

    CSS_PATH: ClassVar[CSSPathType | None] = ["sheet.tcss", "dialogs.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Do it", id="message_menu_choose"),
        CLOSE,
    ]

    def __init__(
        self,
        facts: Sequence[tuple[str, str]],
        action_ids: Sequence[str],
        title: str = "Message",
    ) -> None:
        super().__init__(title)
        self._facts = facts
        self._actions = [action_by_id(action_id) for action_id in action_ids]

    def compose_body(self) -> ComposeResult:
        """Compose the actions, and the facts below."""
        yield ChoiceList[Action](self._draw, self._actions, id="choices")
        lines = [
            Content.assemble((fitted(name, 14), "$text-muted"), plain_line(value))
            for name, value in self._facts
        ]
        if lines:
            yield Static(Content("\n").join(lines), id="facts", classes="dialog-text")

    def on_mount(self) -> None:
        """Focus the list, with the first action highlighted."""
        super().on_mount()
        self.choices.focus()

    def _draw(self, action: Action, width: int) -> Content:
        keys = keys_of(self.app, action)
        longest = max(len(keys_of(self.app, a)) for a in self._actions)
        key_width = min(longest + 2, max(0, width - 12))
        key = (fitted(keys, key_width, "right"), "$text-muted")
        if width < 56:
            return Content.assemble(fitted(action.label, width - key_width), key)
        room = width - 18 - key_width
        text = (fitted(_clause(action.help, room), room), "$text-muted")
        return Content.assemble(fitted(action.label, 18), text, key)

    def on_key(self, event: events.Key) -> None:
        """Choose an action by its own key, unless that key is bound on this screen."""
        if event.key in self.active_bindings:
            return
        for action in self._actions:
            if event.key in pressed_keys(self.app, action):
                event.stop()
                self.dismiss(action.id)
                return

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        event.stop()
        self.dismiss(self._actions[event.index].id)


def _clause(sentence: str, room: int) -> str:
    """Return a sentence, or only its first clause if the sentence has over `room` characters."""
    if len(sentence) <= room:
        return sentence
    clauses = (sentence.partition(mark)[0] for mark in ("; ", ", "))
    return next((f"{c}." for c in clauses if c != sentence and len(c) < room), sentence)
