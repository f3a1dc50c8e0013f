"""The command palette (Ctrl+P): all actions, themes, presets, parameters and precisions by name.

An entry runs through the app's dispatcher, as a key or a slash command does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

from textual import events, on
from textual.binding import Binding, BindingType
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList

from tui_chat.actions import ACTIONS, Action
from tui_chat.chat.known_names import PRECISION_NAMES
from tui_chat.chat.params import PARAM_SPECS, ParamSpec
from tui_chat.errors import ParameterError
from tui_chat.safe_text import safe_line
from tui_chat.ui.commands.host import Host
from tui_chat.ui.keys.names import keys_of
from tui_chat.ui.screens.closing import ClosesOnce
from tui_chat.ui.screens.dialogs import InputScreen
from tui_chat.ui.screens.themes import kind_of


class Palette(CommandPalette, ClosesOnce[None]):
    """Textual's command palette, made to ignore events once it is closing.

    Input and selection messages that were queued before Esc or Enter closed the palette would
    otherwise reach it when its list may already be removed.
    """

    @on(Input.Changed)
    @on(Input.Submitted)
    @on(OptionList.OptionHighlighted)
    @on(OptionList.OptionSelected)
    def _drop_if_over(self, event: Message) -> None:
        if self.is_over:
            event.stop()
            event.prevent_default()

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown", "page(1)", "Next page", show=False),
        Binding("pageup", "page(-1)", "Previous page", show=False),
    ]

    def action_page(self, direction: int) -> None:
        """Move the highlight by a page, forwards (1) or backwards (-1); an entry has two lines.

        This replaces Textual's own page action, which fails before the list has been laid out.
        """
        entries = self.query_one(CommandList)
        if entries.option_count:
            step = direction * max(1, entries.size.height // 2)
            at = (entries.highlighted or 0) + step
            entries.highlighted = max(0, min(at, entries.option_count - 1))

    async def on_event(self, event: events.Event) -> None:
        """Skip the mount handler if the palette was closed before it was mounted.

        Textual's handler looks up the screen below the palette, which is not on the stack then.
        """
        if isinstance(event, events.Mount) and self.is_over:
            return
        await super().on_event(event)

    def on_click(self, event: events.Click) -> None:
        """Drop a click that lies outside the palette because the terminal has shrunk since.

        Textual would look up the widget at that position and fail.
        """
        if not self.region.contains_point(event.screen_offset):
            event.stop()
            event.prevent_default()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the palette."""

    name: str
    help: str
    key: str
    """The action's keys or slash command; empty if it has neither."""
    run: Callable[[], object]
    is_listed: bool = True
    """Whether the palette lists it before the user types anything."""


class ActionCommands(Provider):
    """Provides the entries: actions, themes, parameters, presets and precisions."""

    async def discover(self) -> Hits:
        """Yield the actions, in the order of the help screen."""
        for entry in self.entries():
            if entry.is_listed:
                yield DiscoveryHit(self._line(entry, Content(entry.name)), entry.run, entry.name)

    async def search(self, query: str) -> Hits:
        """Yield the entries whose name matches a query fuzzily, or whose help contains it."""
        matcher = self.matcher(query)
        for entry in self.entries():
            score = matcher.match(entry.name)
            if score > 0:
                yield Hit(
                    score,
                    self._line(entry, self._marked(entry.name, query)),
                    entry.run,
                    entry.name,
                )
            elif query.lower().strip() in entry.help.lower():
                yield Hit(0.01, self._line(entry, Content(entry.name)), entry.run, entry.name)

    def _marked(self, name: str, query: str) -> Content:
        """Return a name with the query marked, if the name contains it literally."""
        at = name.lower().find(query.lower().strip())
        content = Content(name)
        if at < 0 or self.match_style is None:
            return content
        return content.stylize(self.match_style, at, at + len(query.strip()))

    def _line(self, entry: Entry, name: Content) -> Content:
        """Return the display of an entry: name and key, and the help below."""
        # Content rather than a string, because the palette would parse a string as markup.
        key = Content.styled(f"  {entry.key}", "$accent") if entry.key else Content("")
        return Content.assemble(name, key, "\n", (entry.help, "$text-muted"))

    # The entries ----------------------------------------------------------------------------------

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, listed or not."""
        app = cast(Host, self.app)
        for action in ACTIONS:
            if action.palette:
                yield Entry(
                    action.label,
                    action.help,
                    self._keys(action),
                    partial(app.run_command, action.id),
                )
        for name, theme in sorted(self.app.available_themes.items()):
            yield self._choice("Theme", name, f"A {kind_of(theme)} theme.", "theme")
        current = app.session.params
        for spec in PARAM_SPECS:
            now = spec.display(getattr(current, spec.name))
            yield Entry(
                f"Set {spec.name}…", f"Now {now}. {spec.help}", "", partial(self._ask, spec), False
            )
        for name, preset in app.session.presets.items():
            source = f"From {safe_line(preset.source)}." if preset.source else "Your own."
            yield self._choice("Preset", name, source, "preset")
        for name in PRECISION_NAMES:
            best = "the best precision that fits" if name == "auto" else name
            yield self._choice("Precision", name, f"Loads the model in {best}.", "precision")

    def _choice(self, kind: str, name: str, text: str, action_id: str) -> Entry:
        run = partial(cast(Host, self.app).run_command, action_id, name)
        return Entry(f"{kind}: {safe_line(name, 60)}", text, "", run, False)

    def _keys(self, action: Action) -> str:
        return keys_of(cast(Any, self.app), action) or action.slash

    def _ask(self, spec: ParamSpec) -> None:
        """Ask the user for the value of a parameter, and set it."""
        app = cast(Host, self.app)
        value = getattr(app.session.params, spec.name)

        def problem(text: str) -> str:
            try:
                spec.parse(text)
            except ParameterError as error:
                return error.one_line
            return ""

        async def use(text: str | None) -> None:
            if text is not None:
                await app.run_command("set", f"{spec.name}={text}")

        shown = "" if spec.kind == "stop" else spec.format(value)
        hint = f"{spec.help} {spec.range_text[:1].upper()}{spec.range_text[1:]}."
        self.app.push_screen(InputScreen(f"Set {spec.name}", shown, hint, problem), use)
