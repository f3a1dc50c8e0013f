"""The panel changes what it says it changes, keeps what cannot be read, and follows its owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events, on
from textual.pilot import Pilot
from textual.widgets import Button

from tests.ui.pictures import Picture
from tests.ui.piece_app import PieceApp, until
from tui_chat.actions import actions_in
from tui_chat.chat.params import BUILTIN_PRESETS, PARAM_SPECS, SPECS, SamplingParams
from tui_chat.ui.parameters.panel import ParameterPanel
from tui_chat.ui.parameters.row import ParameterRow, ValueEditor, share_of, value_at

NUMBERS = [spec for spec in PARAM_SPECS if spec.kind in ("float", "int")]
K50 = BUILTIN_PRESETS["k50"].params()


class PanelApp(PieceApp):
    """An owner of parameters that takes every change."""

    def __init__(self, params: SamplingParams = K50, context: int = 2048, **options: Any) -> None:
        self.panel = ParameterPanel(params, "k50", BUILTIN_PRESETS, context)
        super().__init__(self.panel, lambda: Button("elsewhere", id="elsewhere"), **options)
        self.changes: list[tuple[str, Any]] = []
        self.presets_chosen: list[str] = []
        self.closed = 0

    def on_mount(self) -> None:
        self.panel.focus()

    @on(ParameterPanel.Changed)
    def _changed(self, event: ParameterPanel.Changed) -> None:
        assert event.control is self.panel
        self.changes.append((event.name, event.value))

    @on(ParameterPanel.PresetChosen)
    def _preset(self, event: ParameterPanel.PresetChosen) -> None:
        self.presets_chosen.append(event.name)

    @on(ParameterPanel.Closed)
    def _closed(self) -> None:
        self.closed += 1

    def row(self, label: str) -> str:
        """The line of the screen with this name."""
        lines = [line for line in self.lines() if line[:34].strip(" ›•").startswith(label)]
        return lines[0][:34] if lines else ""


async def choose(pilot: Pilot[None], name: str) -> None:
    """Go to a row with the keys."""
    app = pilot.app
    assert isinstance(app, PanelApp)
    for _ in range(len(PARAM_SPECS) + 1):
        if app.panel.chosen == name:
            return
        await pilot.press("down")
    raise AssertionError(f"{name} cannot be reached")


# Choosing and stepping --------------------------------------------------------------------------


async def test_every_parameter_has_a_row_with_its_value() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await until(pilot, lambda: app.row("stop"))
        for spec in PARAM_SPECS:
            assert spec.display(getattr(K50, spec.name)) in app.row(spec.label or spec.name)
        assert "‹ k50 ›" in app.row("preset")
        assert "•" not in app.row("temperature")


async def test_left_and_right_step_and_shift_steps_further() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("right", "left", "left", "shift+right", "shift+left")
        steps = [
            ("temperature", 0.8), ("temperature", 0.75), ("temperature", 0.7),
            ("temperature", 0.95), ("temperature", 0.7),
        ]  # fmt: skip
        await until(pilot, lambda: app.changes == steps)
        await until(pilot, lambda: "›•temperature    0.70" in app.row("temperature"))
        assert "‹ k50 * ›" in app.row("preset")
        assert app.panel.params.temperature == 0.7


async def test_a_step_at_the_end_of_the_range_posts_nothing() -> None:
    app = PanelApp(K50.with_values({"temperature": 0.0, "max_new_tokens": 2048}))
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("left", "shift+left")
        await choose(pilot, "max_new_tokens")
        await pilot.press("right", "shift+right")
        await until(pilot, lambda: app.changes == [])
        await pilot.press("left")
        await until(pilot, lambda: app.changes == [("max_new_tokens", 2032)])


async def test_backspace_brings_the_presets_value_back() -> None:
    app = PanelApp(K50.with_values({"temperature": 1.5}))
    async with app.run_test(size=(34, 30)) as pilot:
        await until(pilot, lambda: "•" in app.row("temperature"))
        await pilot.press("backspace", "backspace")
        await until(pilot, lambda: app.changes == [("temperature", 0.75)])
        await until(pilot, lambda: "•" not in app.row("temperature"))


async def test_choosing_goes_round() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("up")
        await until(pilot, lambda: app.panel.chosen == "preset")
        await pilot.press("up")
        await until(pilot, lambda: app.panel.chosen == PARAM_SPECS[-1].name)
        await pilot.press("down", "down")
        await until(pilot, lambda: app.panel.chosen == "temperature")


async def test_the_presets_row_goes_through_the_presets() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await choose(pilot, "preset")
        await pilot.press("right", "left", "left")
        await until(pilot, lambda: app.presets_chosen == ["k50-creative", "k50", "petals"])
        await until(pilot, lambda: app.panel.params == BUILTIN_PRESETS["petals"].params())
        await until(pilot, lambda: "‹ petals ›" in app.row("preset"))
        assert "Petals Chat" in app.shown()


async def test_backspace_on_the_preset_drops_every_change() -> None:
    app = PanelApp(K50.with_values({"temperature": 1.5, "seed": 3}))
    async with app.run_test(size=(34, 30)) as pilot:
        await choose(pilot, "preset")
        await pilot.press("backspace")
        await until(pilot, lambda: app.presets_chosen == ["k50"])
        await until(pilot, lambda: "‹ k50 ›" in app.row("preset"))


async def test_help_and_range_of_the_chosen_row_are_shown() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        for spec in PARAM_SPECS:
            await choose(pilot, spec.name)
            first = " ".join(spec.help.split()[:3])
            await until(pilot, lambda text=first: text in app.shown())
            if spec in NUMBERS:
                assert "Range" in app.shown()
            elif spec.kind == "stop":
                assert "type, Enter adds" in app.shown()


async def test_escape_closes() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("escape")
        await until(pilot, lambda: app.closed == 1)


def test_the_keys_are_those_that_are_declared() -> None:
    bindings = {binding.id: binding for binding in ParameterPanel.BINDINGS if binding.id}
    for action in actions_in("parameters"):
        assert bindings[action.id].key == ",".join(action.keys)
        assert hasattr(ParameterPanel, f"action_{action.id}")


async def test_a_key_can_be_remapped() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        app.set_keymap({"param_more": "m"})
        await pilot.press("m")
        await until(pilot, lambda: app.changes == [("temperature", 0.8)])


# Typing a value ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("temperature", ["0", ".", "2", "enter"], 0.2),
        ("temperature", [".", "5", "enter"], 0.5),
        ("top_k", ["4", "1", "backspace", "0", "enter"], 40),
        ("temperature", ["enter", "2", "enter"], 2.0),
        ("top_p", ["0", "ctrl+u", "o", "f", "f", "enter"], 1.0),
        ("seed", ["4", "2", "enter"], 42),
        ("max_new_tokens", ["2", "0", "4", "8", "enter"], 2048),
        ("stop", ["H", "i", ":", "enter"], ("Hi:",)),
        ("stop", ["\\", "n", "enter"], ("\n",)),
        ("stop", ["\\", "\\", "n", "enter"], ("\\n",)),
        ("stop", ["r", "space", "enter"], ("r ",)),
    ],
)
async def test_a_typed_value_is_taken(name: str, keys: list[str], value: object) -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await choose(pilot, name)
        await pilot.press(*keys)
        await until(pilot, lambda: app.changes)
        assert app.changes == [(name, value)]
        await until(pilot, lambda: app.focused is app.panel)
        assert not app.query(ValueEditor)


async def test_what_is_typed_is_seen_in_the_row() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("0", ".", "3")
        await until(pilot, lambda: "temperature" in app.row("temperature"))
        await until(pilot, lambda: "0.3" in app.row("temperature"))
        assert "Enter takes it" in app.shown()
        assert app.changes == []


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        ("temperature", ["3"], "3.0 is out of range. Allowed:"),
        ("temperature", ["-", "-"], "'--' is not a number. Allowed:"),
        ("top_k", ["1", ".", "5"], "is not a whole number"),
        ("max_new_tokens", ["4", "0", "9", "6"], "4096 is more than the context"),
        ("seed", ["-", "1"], "is out of range"),
    ],
)
async def test_a_value_that_is_none_is_explained_and_the_old_one_kept(
    name: str, keys: list[str], says: str
) -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await choose(pilot, name)
        await pilot.press(*keys, "enter")
        await until(pilot, lambda: says in " ".join(app.shown().split()))
        assert app.changes == []
        assert app.query_one(ValueEditor).has_focus
        await pilot.press("escape")
        await until(pilot, lambda: not app.query(ValueEditor))
        assert app.panel.params == K50
        assert app.closed == 0
        await until(pilot, lambda: says not in " ".join(app.shown().split()))


async def test_a_wrong_value_can_be_corrected_at_once() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("1", "7", "enter")
        await until(pilot, lambda: "out of range" in app.shown())
        await pilot.press("backspace")
        await until(pilot, lambda: "out of range" not in app.shown())
        await pilot.press("enter")
        await until(pilot, lambda: app.changes == [("temperature", 1.0)])


async def test_up_and_down_take_what_was_typed() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("1", "down")
        await until(pilot, lambda: app.panel.chosen == "top_k")
        assert app.changes == [("temperature", 1.0)]


async def test_going_elsewhere_takes_a_value_and_drops_what_is_none() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("1")
        app.query_one("#elsewhere").focus()
        await until(pilot, lambda: app.changes == [("temperature", 1.0)])
        app.panel.focus()
        await pilot.press("7")
        app.query_one("#elsewhere").focus()
        await until(pilot, lambda: not app.query(ValueEditor))
        assert app.changes == [("temperature", 1.0)]
        assert app.focused is app.query_one("#elsewhere")


async def test_the_seed_is_random_again_with_r() -> None:
    app = PanelApp(K50.with_values({"seed": 7}))
    async with app.run_test(size=(34, 30)) as pilot:
        await choose(pilot, "seed")
        await pilot.press("r")
        await until(pilot, lambda: app.changes == [("seed", None)])
        await until(pilot, lambda: "random" in app.row("seed"))


async def test_stop_strings_are_added_and_the_last_one_removed() -> None:
    app = PanelApp(K50.with_values({"stop": ["a"]}))
    async with app.run_test(size=(34, 30)) as pilot:
        await choose(pilot, "stop")
        await pilot.press("b", "enter")
        await until(pilot, lambda: app.panel.params.stop == ("a", "b"))
        await pilot.press("b", "enter")  # there already
        await until(pilot, lambda: not app.query(ValueEditor))
        await pilot.press("backspace", "backspace", "backspace")
        fewer = [("stop", ("a", "b")), ("stop", ("a",)), ("stop", ())]
        await until(pilot, lambda: app.changes == fewer)


async def test_hostile_stop_strings_show_as_text() -> None:
    app = PanelApp(K50.with_values({"stop": ["[/foo]", "\x1b[2J\u202e"]}))
    async with app.run_test(size=(60, 30)) as pilot:
        app.panel.add_class("-full")
        await until(pilot, lambda: "[/foo]" in app.shown())
        assert "\x1b" not in app.shown()
        assert "\u202e" not in app.shown()


# The owner and the mouse ------------------------------------------------------------------------


async def test_values_set_from_outside_are_shown_and_not_posted() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        app.panel.params = K50.with_values({"top_k": 77})
        await until(pilot, lambda: "77" in app.row("top_k"))
        app.panel.preset = "greedy"
        await until(pilot, lambda: "greedy *" in app.row("preset"))
        app.panel.preset = "no longer there"
        await until(pilot, lambda: "no longer there" in app.row("preset"))
        app.panel.context = 512
        await choose(pilot, "max_new_tokens")
        await until(pilot, lambda: "Range 1 to 512" in app.shown())
        assert app.changes == []
        assert app.presets_chosen == []


async def test_a_press_on_a_row_chooses_it_and_on_the_bar_sets_it() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        row = app.panel.query(ParameterRow)[3]
        assert row.key == "top_p"
        await pilot.click(row, offset=(4, 0))
        await until(pilot, lambda: app.panel.chosen == "top_p")
        assert app.changes == []
        await pilot.click(row, offset=(22, 0))
        await until(pilot, lambda: app.changes == [("top_p", 0.0)])
        await pilot.click(row, offset=(31, 0))
        await until(pilot, lambda: app.changes[-1] == ("top_p", 1.0))


def press(app: PanelApp, x: int, y: int) -> None:
    """Press and let go as a terminal reports it: at a place of the screen, on no widget yet."""
    for kind in (events.MouseDown, events.MouseUp):
        app.post_message(kind(None, x, y, 0, 0, 1, False, False, False, x, y))


async def test_a_press_that_a_terminal_reports_does_the_same() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        row = app.panel.query(ParameterRow)[3].region
        press(app, row.x + 31, row.y)
        await until(pilot, lambda: app.panel.chosen == "top_p")
        await until(pilot, lambda: app.changes == [("top_p", 1.0)])


async def test_the_arrows_beside_the_preset_go_through_them() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        row = app.panel.query(ParameterRow)[0]
        await until(pilot, lambda: "‹" in app.row("preset"))
        names = list(BUILTIN_PRESETS)
        after = names[names.index(app.panel.preset) + 1]
        shown = row.render().plain
        await pilot.click(row, offset=(shown.rindex("›"), 0))
        await until(pilot, lambda: app.presets_chosen == [after])
        await until(pilot, lambda: after in app.row("preset"))
        await pilot.click(row, offset=(row.render().plain.rindex("‹"), 0))
        await until(pilot, lambda: app.presets_chosen == [after, "k50"])
        await pilot.click("#parameter-close")
        await until(pilot, lambda: app.closed == 1)


async def test_the_bar_follows_the_mouse_while_it_is_held() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        row = app.panel.query(ParameterRow)[1]
        await pilot.mouse_down(row, offset=(22, 0))
        await pilot.hover(row, offset=(31, 0))
        await until(pilot, lambda: app.changes[-1:] == [("temperature", 2.0)])
        await pilot.mouse_up(row, offset=(31, 0))
        await until(pilot, lambda: app.mouse_captured is None)
        await pilot.hover(row, offset=(22, 0))
        await until(pilot, lambda: app.changes[-1] == ("temperature", 2.0))


async def test_a_press_on_another_row_takes_what_was_typed_in_the_first() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await pilot.press("1")
        await pilot.click(app.panel.query(ParameterRow)[2], offset=(4, 0))
        await until(pilot, lambda: app.panel.chosen == "top_k")
        await until(pilot, lambda: app.changes == [("temperature", 1.0)])


async def test_the_wheel_steps_over_the_bar_and_not_over_the_name() -> None:
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        row = app.panel.query(ParameterRow)[2]
        await pilot._post_mouse_events([events.MouseScrollUp], row, offset=(25, 0), button=0)
        await until(pilot, lambda: app.changes == [("top_k", 51)])
        assert app.panel.chosen == "top_k"
        await pilot._post_mouse_events([events.MouseScrollDown], row, offset=(4, 0), button=0)
        assert app.changes == [("top_k", 51)]


@given(st.sampled_from(NUMBERS), st.floats(0, 1), st.sampled_from([1, 7, 512, 2048, 32768]))
def test_what_a_bar_gives_is_a_value_and_draws_close_to_it(
    spec: Any, share: float, context: int
) -> None:
    maximum = context if spec.name == "max_new_tokens" else spec.maximum
    value = spec.check(value_at(spec, share, maximum))
    assert (spec.minimum or 0) <= value <= maximum
    assert 0 <= share_of(spec, value, maximum) <= 1


@pytest.mark.parametrize("spec", NUMBERS, ids=lambda spec: spec.name)
def test_both_ends_of_a_bar_are_both_ends_of_the_range(spec: Any) -> None:
    assert value_at(spec, 0.0, spec.maximum) == spec.minimum
    assert value_at(spec, 1.0, spec.maximum) == spec.maximum
    assert share_of(spec, spec.minimum, spec.maximum) == 0
    assert share_of(spec, spec.maximum, spec.maximum) == 1


# Sizes and looks --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(40, 12), (34, 9), (80, 24), (100, 30)])
async def test_the_chosen_row_and_its_help_are_always_in_view(size: tuple[int, int]) -> None:
    app = PanelApp()
    async with app.run_test(size=size) as pilot:
        app.panel.set_class(size[0] < 90, "-full")
        app.query_one("#elsewhere").display = False
        for name in ("preset", *SPECS):
            await choose(pilot, name)
            label = SPECS[name].label or name if name in SPECS else name
            await until(pilot, lambda text=label: "›" in app.row(text)[:4])
            key_line = {"seed": "r random", "stop": "Enter adds"}.get(name, "⌫")
            assert key_line in app.shown()


async def test_without_colours_the_bar_is_made_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = PanelApp()
    async with app.run_test(size=(34, 30)) as pilot:
        await until(pilot, lambda: "████░░░░░░" in app.row("temperature"))


@pytest.mark.parametrize("theme", ["night", "paper"])
def test_the_look_of_the_panel(theme: str, picture: Picture) -> None:
    values: Mapping[str, Any] = {"temperature": 0.7, "max_new_tokens": 512}
    app = PieceApp(
        ParameterPanel(K50.with_values(values), "k50", BUILTIN_PRESETS, 2048), theme=theme
    )
    assert picture(app, (34, 26))
