"""The form widget of the label screen: one field per line, each answered with a single key.

The widget holds the answers, the highlighted field and the column layout. It does not save the
answers; `ui.screens.label.LabelScreen` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive

from tui_chat.ui.screens.label_fields import Answers, LabelField
from tui_chat.ui.widgets.line_view import LineView, fitted

_GUTTER = 2
_LEFT_TITLE, _RIGHT_TITLE = 16, 12
_LEFT = _GUTTER + _LEFT_TITLE + 9
_GAP = 2
TWO_COLUMNS = _LEFT + _GAP + _GUTTER + _RIGHT_TITLE + 27
"""From this many cells on, the yes/no questions stand at the left and the rest at the right."""


class LabelForm(LineView, inherit_bindings=False):
    """Label fields with their answers. The screen handles Enter and Tab."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("home,g", "move(-99)", "First", show=False),
        Binding("end,G", "move(99)", "Last", show=False),
        Binding("y", "answer(1)", "Answer", key_display="y n", id="label_answer",
                tooltip="Answers yes or no, and goes on to the next field."),
        Binding("n", "answer(0)", "No", show=False),
        Binding("1", "digit(1)", "Choose", key_display="1-5", id="label_choose",
                tooltip="Chooses a value, and goes on to the next field."),
        *(Binding(str(n), f"digit({n})", "Choose", show=False) for n in range(2, 6)),
        Binding("left", "step(-1)", "Less", show=False),
        Binding("right", "step(1)", "More", show=False),
        Binding("space", "flip_value", "Toggle", show=False),
        Binding("backspace,0", "clear", "Clear", show=False,
                tooltip="Takes the answer away."),
        Binding("N", "rest_no", "No to the rest", id="label_rest_no",
                tooltip="Answers no where nothing is answered, and goes on to the scales."),
    ]  # fmt: skip
    highlighted: reactive[int] = reactive(0)
    """Index of the highlighted field."""
    answers: reactive[Answers] = reactive(Answers())
    """The answers given so far."""

    class Moved(Message):
        """Posted when another field is highlighted."""

    class Changed(Message):
        """Posted when the answers change."""

    class ReasonWanted(Message):
        """Posted when the user wants to type the reason of a report."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(self._columns, id=id)
        self._fields: Sequence[LabelField] = ()

    @property
    def fields(self) -> Sequence[LabelField]:
        """The fields, in order."""
        return self._fields

    @property
    def asked(self) -> LabelField | None:
        """The highlighted field."""
        return self._fields[self.highlighted] if self._fields else None

    def ask(self, fields: Sequence[LabelField], answers: Answers) -> None:
        """Show the fields of a message, with the first one highlighted.

        Args:
            fields: The fields, in the order to show them.
            answers: The answers that the message already has.
        """
        self._fields = fields
        self.set_reactive(LabelForm.answers, answers)
        self.set_reactive(LabelForm.highlighted, 0)
        self._lay_out()
        self.scroll_home(animate=False)
        self.post_message(self.Moved())

    # Moving ---------------------------------------------------------------------------------------

    def validate_highlighted(self, index: int) -> int:
        """Clamp the index to the fields."""
        return max(0, min(index, len(self._fields) - 1))

    def watch_highlighted(self, old: int, new: int) -> None:
        """Redraw, scroll to the new field and post `Moved`."""
        if old != new:
            self._lay_out()
            line = Region(0, self._place(new)[1], 1, 1)
            self.scroll_to_region(line, animate=False, force=True, immediate=True)
            self.post_message(self.Moved())

    def watch_answers(self, old: Answers, new: Answers) -> None:
        """Redraw and post `Changed`."""
        if old != new:
            self._lay_out()
            self.post_message(self.Changed())

    def action_move(self, step: int) -> None:
        """Move the highlight by `step` fields, down if positive."""
        self.highlighted += step

    # Answering ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enable the keys that apply to the kind of the highlighted field."""
        kind = self.asked.kind if self.asked is not None else ""
        if action in ("answer", "rest_no"):
            return kind == "yes_no"
        if action == "digit":
            return kind in ("scale", "report")
        return True

    def action_answer(self, value: int) -> None:
        """Answer yes (1) or no (0), and move to the next field."""
        self._choose(value)
        self.action_move(1)

    def action_digit(self, number: int) -> None:
        """Choose an option by its number, from 1, and move to the next field."""
        asked = self.asked
        if asked is not None and number <= len(asked.options):
            self._choose(number - 1)
            self.action_move(1)

    def action_step(self, step: int) -> None:
        """Choose the next option (1) or the previous one (-1).

        An unanswered scale starts in the middle, any other field at the end that the step comes
        from.
        """
        asked = self.asked
        if asked is None or not asked.options:
            return
        now, last = self.answers.chosen(asked), len(asked.options) - 1
        if now is None:
            now = (last + 1) // 2 if asked.kind == "scale" else (-1 if step > 0 else 1)
            step = 0 if asked.kind == "scale" else step
        self._choose(max(0, min(last, now + step)))

    def action_flip_value(self) -> None:
        """Toggle yes and no, ask for the reason, or cycle through the options of other fields."""
        asked = self.asked
        if asked is None:
            return
        if asked.kind == "reason":
            self.post_message(self.ReasonWanted())
            return
        now, count = self.answers.chosen(asked), len(asked.options)
        if asked.kind == "yes_no":
            self._choose(0 if now == 1 else 1)
        else:
            self._choose(0 if now is None else (now + 1) % count)

    def action_clear(self) -> None:
        """Remove the answer of the highlighted field."""
        self._choose(None)

    def action_rest_no(self) -> None:
        """Answer no to every unanswered yes/no question, and move to the first other field."""
        answers = self.answers
        for asked in self._fields:
            if asked.kind == "yes_no" and answers.chosen(asked) is None:
                answers = answers.with_chosen(asked, 0)
        self.answers = answers
        self.highlighted = next(i for i, f in enumerate(self._fields) if f.kind != "yes_no")

    def _choose(self, index: int | None) -> None:
        if self.asked is not None:
            self.answers = self.answers.with_chosen(self.asked, index)

    def on_click(self, event: events.Click) -> None:
        """Highlight the clicked field; if it was highlighted already, toggle it."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        is_right = self._is_wide and offset.x >= _LEFT
        place = (int(is_right), offset.y + self.scroll_offset.y)
        for index in range(len(self._fields)):
            if self._place(index) == place:
                event.stop()
                if index == self.highlighted:
                    self.action_flip_value()
                self.highlighted = index

    # Drawing --------------------------------------------------------------------------------------

    @property
    def _is_wide(self) -> bool:
        return self._made_for >= TWO_COLUMNS

    @property
    def _questions(self) -> int:
        """Number of fields in the left column, when there are two columns."""
        return sum(1 for asked in self._fields if asked.kind == "yes_no")

    def _place(self, index: int) -> tuple[int, int]:
        """Return the column (0 or 1) and the line of a field."""
        if self._is_wide and index >= self._questions:
            return 1, index - self._questions
        return 0, index

    def _columns(self, width: int) -> list[Content]:
        if width < TWO_COLUMNS:
            return [self._draw(index, width, _LEFT_TITLE) for index in range(len(self._fields))]
        left = [self._draw(i, _LEFT, _LEFT_TITLE) for i in range(self._questions)]
        rest = range(self._questions, len(self._fields))
        right = [self._draw(i, width - _LEFT - _GAP, _RIGHT_TITLE) for i in rest]
        blank, none = Content(" " * _LEFT), Content("")
        lines = max(len(left), len(right))
        left += [blank] * (lines - len(left))
        right += [none] * (lines - len(right))
        return [Content.assemble(a, " " * _GAP, b) for a, b in zip(left, right, strict=True)]

    def _draw(self, index: int, width: int, title_width: int) -> Content:
        asked, is_here = self._fields[index], index == self.highlighted
        gutter = ("› " if is_here else "  ", "$accent bold")
        title = (fitted(asked.title, title_width), "bold" if is_here else "")
        room = width - _GUTTER - title_width
        return Content.assemble(gutter, title, self._value(asked, room, is_here))

    def _value(self, asked: LabelField, room: int, is_here: bool) -> Content:
        if asked.kind == "reason":
            reason = self.answers.reason or ("Space, then type" if is_here else "")
            colour = "" if self.answers.reason else "$text-muted"
            return Content.styled(fitted(f" {reason}", room), colour)
        chosen = self.answers.chosen(asked)
        pieces = []
        order = list(enumerate(asked.options))
        if asked.kind == "yes_no":
            order.reverse()
        for place, option in order:
            if place != chosen:
                pieces.append((f" {option} ", "$text-muted"))
            else:
                is_bad = asked.kind == "report" or (asked.kind == "yes_no" and place == 1)
                pieces.append((f"[{option}]", f"{'$warning' if is_bad else '$accent'} bold"))
        drawn = Content.assemble(*pieces)
        return drawn.truncate(room).pad_right(max(0, room - drawn.cell_length))
