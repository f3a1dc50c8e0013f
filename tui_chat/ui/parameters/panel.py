"""The parameters panel (F2): every sampling parameter with its value, bar and help.

The panel shows `params` and `preset`, which other code may set at any time. It applies no change
itself: it posts each one to the owner of the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, Label

from tui_chat.actions import actions_in
from tui_chat.chat.params import PARAM_SPECS, SPECS, ParamSpec, Preset, SamplingParams
from tui_chat.errors import ParameterError
from tui_chat.ui.parameters.help import ParameterHelp
from tui_chat.ui.parameters.row import ParameterRow, ValueEditor, value_at
from tui_chat.ui.parameters.values import ParameterValues

PRESET = "preset"
"""Key of the preset's row, which is not a parameter."""

_SHORT_ROWS = 21


def _bindings() -> Iterable[BindingType]:
    for action in actions_in("parameters"):
        yield Binding(
            ",".join(action.keys),
            action.id,
            action.label,
            show=action.footer,
            tooltip=action.help,
            id=action.id,
        )
    yield Binding("enter", "edit", "Type a value", show=False)
    yield Binding("escape", "close", "Close", show=False)


class ParameterPanel(Vertical, can_focus=True):
    """Side panel of the sampling parameters; the class `-full` makes it as wide as its parent.

    Args:
        params: The values to show.
        preset: Name of the preset they are compared with; empty or unknown for none.
        presets: Every preset by name, in the order in which Left and Right go through them.
        context: Context length of the model in tokens, the upper limit of `max_new_tokens`.
    """

    HELP = (
        "Choose a parameter with Up and Down, change it with Left and Right (Shift for big "
        "steps), or type a value. Backspace brings the preset's value back. What you change "
        "takes effect with the next token."
    )
    BINDING_GROUP_TITLE = "Parameters"
    BINDINGS: ClassVar[list[BindingType]] = list(_bindings())
    params: reactive[SamplingParams] = reactive(SamplingParams)
    preset: reactive[str] = reactive("")
    presets: reactive[Mapping[str, Preset]] = reactive(dict)
    context: reactive[int] = reactive(2048)
    chosen: reactive[str] = reactive(PARAM_SPECS[0].name)
    """Key of the row that the keys act on: a parameter's name, or `preset`."""

    class Changed(Message):
        """Posted when the user has changed a value, which is in range and of its canonical type."""

        def __init__(self, panel: ParameterPanel, name: str, value: Any) -> None:
            super().__init__()
            self.panel = panel
            self.name = name
            self.value = value

        @property
        def control(self) -> ParameterPanel:
            """The panel."""
            return self.panel

    class PresetChosen(Message):
        """Posted when the user has chosen a preset, or reset the values to the current one."""

        def __init__(self, panel: ParameterPanel, name: str) -> None:
            super().__init__()
            self.panel = panel
            self.name = name

        @property
        def control(self) -> ParameterPanel:
            """The panel."""
            return self.panel

    class Closed(Message):
        """Posted when the user closes the panel; its owner removes or hides it."""

    def __init__(
        self,
        params: SamplingParams,
        preset: str,
        presets: Mapping[str, Preset],
        context: int = 2048,
        *,
        id: str | None = None,  # noqa: A002 - the name Textual uses
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.set_reactive(ParameterPanel.params, params)
        self.set_reactive(ParameterPanel.preset, preset)
        self.set_reactive(ParameterPanel.presets, presets)
        self.set_reactive(ParameterPanel.context, context)
        self._rows: dict[str, ParameterRow] = {
            PRESET: ParameterRow(PRESET, "preset"),
            **{spec.name: ParameterRow(spec.name, spec.label or spec.name) for spec in PARAM_SPECS},
        }
        self._rows[PRESET].id = "parameter-preset"
        self._help = ParameterHelp()
        self._editor: ValueEditor | None = None
        self._is_composed = False
        self._error: ParameterError | None = None

    def compose(self) -> ComposeResult:
        """Compose the title, the rows, and the help with its keys."""
        with Horizontal(id="parameter-title"):
            yield Label("Parameters", id="parameter-name", markup=False)
            yield Label("Esc closes", id="parameter-close", markup=False)
        with VerticalScroll(id="parameter-rows", can_focus=False):
            yield from self._rows.values()
        yield self._help

    def on_mount(self) -> None:
        """Show the initial values."""
        self._is_composed = True
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        """Drop the blank lines in a low terminal, and let the rows scroll in a lower one."""
        height = event.size.height
        self.set_class(height < _SHORT_ROWS, "-short")
        fixed = 5 if height < _SHORT_ROWS else 9  # title and help
        self.query_one("#parameter-rows").styles.max_height = max(1, height - fixed)
        self.call_after_refresh(self._rows[self.chosen].scroll_visible, animate=False)

    # What is shown --------------------------------------------------------------------------------

    def watch_params(self) -> None:
        """Show the new values, wherever they were set."""
        self._show()

    def watch_preset(self) -> None:
        """Show the preset's name, and which values differ from it."""
        self._show()

    def watch_presets(self) -> None:
        """Compare the values with the new presets."""
        self._show()

    def watch_context(self) -> None:
        """Rescale the bar of `max_new_tokens`."""
        self._show()

    def watch_chosen(self) -> None:
        """Move the mark to the chosen row, and scroll it into view."""
        self._error = None
        self._show()
        if self._is_composed:
            self._rows[self.chosen].scroll_visible(animate=False)

    @property
    def values(self) -> ParameterValues:
        """The values shown, with the preset that they are compared with."""
        return ParameterValues(self.params, self.preset, self.presets, self.context)

    def _show(self) -> None:
        if not self._is_composed:
            return
        values = self.values
        self._rows[PRESET].state = values.preset_state(self.chosen == PRESET)
        for spec in PARAM_SPECS:
            self._rows[spec.name].state = values.state(spec, self.chosen == spec.name)
        self._show_help()

    def _show_help(self) -> None:
        spec, editing = self._spec, self._editor is not None
        if self._error is not None:
            self._help.show_error(self._error)
        elif spec is None:
            self._help.show_preset(self.presets.get(self.preset))
        else:
            self._help.show_parameter(spec, self.values.maximum(spec), editing)

    # What the values are --------------------------------------------------------------------------

    @property
    def _spec(self) -> ParamSpec | None:
        """The chosen parameter; None on the preset's row."""
        return SPECS.get(self.chosen)

    def _set(self, spec: ParamSpec, value: Any) -> None:
        """Show a new value and post it, unless it is the old one."""
        self._error = None
        if value == self.values.of(spec):
            self._show()
            return
        self.params = self.params.with_values({spec.name: value})
        self.post_message(self.Changed(self, spec.name, value))

    def _step(self, spec: ParamSpec, direction: int, big: bool) -> None:
        self._set(spec, self.values.stepped(spec, direction, big))

    def _choose_preset(self, name: str) -> None:
        self._error = None
        self.preset = name
        self.params = self.presets[name].params().within(self.context)
        self.post_message(self.PresetChosen(self, name))

    # Keys -----------------------------------------------------------------------------------------

    def _move(self, direction: int) -> None:
        keys = list(self._rows)
        self.chosen = keys[(keys.index(self.chosen) + direction) % len(keys)]

    async def action_param_previous(self) -> None:
        """Choose the row above."""
        if await self._finish_editing():
            self._move(-1)

    async def action_param_next(self) -> None:
        """Choose the row below."""
        if await self._finish_editing():
            self._move(1)

    def _more(self, direction: int, big: bool = False) -> None:
        if self._spec is not None:
            self._step(self._spec, direction, big)
        elif self.presets:
            self._choose_preset(self.values.next_preset(direction))

    def action_param_less(self) -> None:
        """Take one step down, or choose the previous preset."""
        self._more(-1)

    def action_param_more(self) -> None:
        """Take one step up, or choose the next preset."""
        self._more(1)

    def action_param_much_less(self) -> None:
        """Take a big step down."""
        self._more(-1, big=True)

    def action_param_much_more(self) -> None:
        """Take a big step up."""
        self._more(1, big=True)

    def action_param_default(self) -> None:
        """Restore the preset's value; for the stop strings, remove the last one."""
        spec = self._spec
        if spec is None:
            if self.preset in self.presets:
                self._choose_preset(self.preset)
        elif spec.kind == "stop" and self.params.stop:
            self._set(spec, self.params.stop[:-1])
        else:
            self._set(spec, self.values.default(spec))

    async def action_edit(self) -> None:
        """Open the editor on the chosen value."""
        spec = self._spec
        if spec is None:
            return
        value = self.values.of(spec)
        empty = spec.kind == "stop" or value is None
        await self._edit(spec, "" if empty else spec.format(value), select=True)

    def action_close(self) -> None:
        """Post `Closed`."""
        self.post_message(self.Closed())

    async def on_key(self, event: events.Key) -> None:
        """Open the editor with the first character of a typed value."""
        spec, character = self._spec, event.character
        if spec is None or character is None or not event.is_printable:
            return
        if self._editor is not None:
            # The user typed on before the editor had the focus.
            self._editor.insert_text_at_cursor(character)
        elif spec.kind == "seed" and character == "r":
            self._set(spec, None)
        elif spec.kind == "stop" or character in "0123456789.-":
            await self._edit(spec, character)
        else:
            return
        event.stop()
        event.prevent_default()

    # Typing a value -------------------------------------------------------------------------------

    async def _edit(self, spec: ParamSpec, text: str, select: bool = False) -> None:
        self._error = None
        editor = self._editor = ValueEditor(spec, text)
        await self._rows[spec.name].mount(editor)
        self.screen.set_focus(editor)
        if select:
            editor.action_select_all()
        self._show_help()

    async def _finish_editing(self) -> bool:
        """Set the typed value; return False and show the reason if it is invalid."""
        editor = self._editor
        if editor is None:
            return True
        try:
            value = self.values.parsed(editor.spec, editor.value)
        except ParameterError as error:
            self._error = error
            editor.add_class("-invalid")
            self._show_help()
            return False
        await self._stop_editing()
        self._set(editor.spec, value)
        return True

    async def _stop_editing(self) -> None:
        editor, self._editor, self._error = self._editor, None, None
        if editor is not None:
            had_focus = editor.has_focus
            editor.disabled = True  # or it gets the focus when the terminal window regains it
            await editor.remove()
            if had_focus:
                self.focus(scroll_visible=False)
        self._show_help()

    @on(Input.Submitted)
    async def _typed(self, event: Input.Submitted) -> None:
        event.stop()
        await self._finish_editing()

    @on(Input.Changed)
    def _typing(self, event: Input.Changed) -> None:
        event.stop()
        if self._error is not None:
            self._error = None
            event.input.remove_class("-invalid")
            self._show_help()

    @on(ValueEditor.Cancelled)
    async def _cancelled(self, event: ValueEditor.Cancelled) -> None:
        event.stop()
        await self._stop_editing()

    @on(Input.Blurred)
    async def _left(self, event: Input.Blurred) -> None:
        """Set the typed value when the editor loses the focus; drop it if it is invalid."""
        event.stop()
        if self._editor is event.input and self.app.app_focus and not await self._finish_editing():
            await self._stop_editing()

    # Mouse ----------------------------------------------------------------------------------------

    @on(ParameterRow.Pressed)
    def _pressed(self, event: ParameterRow.Pressed) -> None:
        event.stop()
        self.chosen = event.row.key
        if self._editor is None:
            self.focus(scroll_visible=False)
        if event.share is not None and self._spec is not None:
            value = value_at(self._spec, event.share, self.values.maximum(self._spec))
            self._set(self._spec, self._spec.check(value))
        elif event.direction:
            self._more(event.direction)

    @on(events.Click, "#parameter-close")
    def _close_pressed(self, event: events.Click) -> None:
        event.stop()
        self.action_close()

    @on(ParameterRow.Wheel)
    def _turned(self, event: ParameterRow.Wheel) -> None:
        event.stop()
        self.chosen = event.row.key
        if self._spec is not None:
            self._step(self._spec, event.direction, event.big)
