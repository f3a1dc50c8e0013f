"""The Textual app: startup, themes, keys, session events and an orderly exit.

The app paints its first frame before anything heavy is imported, starts the session afterwards, and
closes it at the end. The actions are in `commands`, the modal screens in `screens`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from textual import constants, events
from textual.app import ScreenStackError
from textual.binding import BindingType
from textual.color import Color
from textual.driver import Driver
from textual.filter import LineFilter
from textual.notifications import Notify
from textual.screen import Screen
from textual.theme import Theme
from textual.types import CSSPathType

from tui_chat.actions import Action
from tui_chat.chat.known_names import PRECISION_NAMES
from tui_chat.errors import ConfigError
from tui_chat.session import ChatSession
from tui_chat.terminal import ownership as terminal
from tui_chat.ui.chat.event_feed import EventFeed
from tui_chat.ui.chat.messages import EngineBatch
from tui_chat.ui.chat.page import Clock
from tui_chat.ui.chat.screen import ChatScreen
from tui_chat.ui.commands.dispatch import Commands
from tui_chat.ui.keys.bindings import bindings_of
from tui_chat.ui.keys.names import UNBOUND
from tui_chat.ui.no_colour import WithoutColour
from tui_chat.ui.plain_text import TERMINAL_GUARD, notify_plain
from tui_chat.ui.textual_fixes.crashes import GuardedApp
from tui_chat.ui.textual_fixes.driver import TerminalDriver
from tui_chat.ui.textual_fixes.key_order import Key, KeyOrder, KeyOrMouse
from tui_chat.ui.textual_fixes.terminal_colours import take_over
from tui_chat.ui.themes import (
    DEFAULT_DARK,
    DEFAULT_LIGHT,
    find_theme,
    has_few_colours,
    load_themes,
    variable_defaults,
)
from tui_chat.ui.toasts import MOST, Toasts

if TYPE_CHECKING:
    from textual.command import Provider
    from textual.notifications import SeverityLevel

log = logging.getLogger(__name__)

REST_S = 1.0
"""Seconds from the end of the first load to idle-time preparation, so that the first reply goes
first."""
SEND_S = 0.3
"""Seconds that messages on their way to the session get when the program ends."""
CLOSE_S = 1.8
"""Seconds that the engine thread gets to end."""


@dataclass(frozen=True, slots=True)
class UiSettings:
    """The settings of the screens."""

    theme: str | None = None
    """Name of the theme; None chooses one by the terminal's background."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Keys by action id, in Textual's spelling; an empty tuple leaves the action without a key."""
    notices: Sequence[str] = ()
    """Notices for the user at the start, one sentence each."""


def run(session: ChatSession, settings: UiSettings) -> int:
    """Run the screens until the user leaves.

    Args:
        session: A session that has not been started; it is closed when this returns.
        settings: The settings of the screens.

    Returns:
        The exit code. Call `session.close` again to learn whether the engine thread has ended;
        `TuiChat.engine_ended` has the answer as well.
    """
    app = TuiChat(session, settings)
    code = app.run()
    return code if isinstance(code, int) else app.return_code or 0


def _palette_entries() -> type[Provider]:
    """Return the provider of the command palette, imported when the palette opens."""
    from tui_chat.ui.commands.palette import ActionCommands

    return ActionCommands


class ChatDriver(TerminalDriver):
    """The driver, which hands itself to the app because Textual has no public way to get it."""

    def __init__(self, app: TuiChat, **options: Any) -> None:
        super().__init__(app, **options)
        app.terminal_driver = self


class TuiChat(GuardedApp[int]):
    """The chat program.

    Args:
        session: The session to run, which the app starts after the first frame.
        settings: The settings of the screens.
        clock: Returns the current time for display.
    """

    # The styles of the lowest screen belong here: Textual loads those of pushed screens only.
    CSS_PATH: ClassVar[CSSPathType | None] = [
        "app.tcss",
        "widgets/widgets.tcss",
        "prompt/prompt.tcss",
        "parameters/parameters.tcss",
        "chat/parts.tcss",
        "chat/screen.tcss",
        "transcript/messages.tcss",
        "commands/palette.tcss",
    ]
    TITLE = "tui-chat"
    ENABLE_COMMAND_PALETTE = False
    COMMANDS: ClassVar[set[Any]] = {_palette_entries}
    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of("app", priority=True))

    def __init__(
        self,
        session: ChatSession,
        settings: UiSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._mixed: tuple[Theme, dict[str, str]] | None = None
        self._has_chosen_theme = False
        self._copied = ""
        self.terminal_driver: Driver | None = None
        """The driver that writes to the terminal; None until the app runs."""
        self.keymap: Mapping[str, str] = {}
        """The user's keys by action id, as passed to `set_keymap`."""
        super().__init__(
            # A driver named in Textual's environment variable, as for recordings, comes first.
            driver_class=None if constants.DRIVER else ChatDriver,
        )
        self.session = session
        self.settings = settings or UiSettings()
        self.engine_ended = True
        """Whether the engine thread has ended; known once the user has left the app."""
        self.toasts = Toasts(self)
        """The current toasts."""
        self._commands = Commands(self)
        self.chat = ChatScreen(session, self, clock)
        """The main screen."""
        self._feed = EventFeed(lambda events: self.chat.post_message(EngineBatch(events)))
        self._unsubscribe = session.subscribe(self._feed.listen)
        self._without_colour = WithoutColour(self._page_colour)
        self._is_quitting = False
        self._key_order = KeyOrder(self, self._dispatch_key)
        self._early: list[events.Event] | None = []
        """Keys pressed before the prompt could take them; None once it can."""
        self._model_names: list[tuple[str, str]] | None = None
        self._notices = list(self.settings.notices)
        self._has_all_themes = False
        self._choose_theme()
        self._styled_with = self.get_css_variables()
        self.stylesheet.set_variables(self._styled_with)
        self.set_keymap(_keymap(self.settings.keys))

    # Beginning ------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[Any]:
        """Return the chat, the screen below all others."""
        return self.chat

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Put the guard before all filters, so that all output to the terminal passes it first."""
        if self.no_color:
            return [TERMINAL_GUARD, self._without_colour]
        return [TERMINAL_GUARD, *super().get_line_filters()]

    def _page_colour(self) -> Color:
        """Return the background of the theme in use."""
        return Color.parse(self.theme_variables.get("background", "black"))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return the project's own colours, made from the theme's."""
        return variable_defaults(self.current_theme)

    def get_css_variables(self) -> dict[str, str]:
        """Return the style variables, mixed once per theme because startup asks several times."""
        if not self._has_chosen_theme:
            return {}  # Textual asks in `App.__init__` too, for a theme that is never shown
        theme = self.current_theme
        if self._mixed is None or self._mixed[0] is not theme:
            self._mixed = theme, super().get_css_variables()
        return dict(self._mixed[1])

    def refresh_css(self, animate: bool = True) -> None:
        """Parse the styles again if the variables of the theme have changed.

        Textual calls this at the start too, which would parse them twice before the first frame.
        """
        variables = self.get_css_variables()
        if variables != self._styled_with:
            self._styled_with = variables
            super().refresh_css(animate)

    def _choose_theme(self) -> None:
        """Start with the theme of the settings, else with one that suits the terminal."""
        wanted = self.settings.theme
        names = self._fitting_themes()
        if wanted is not None:
            names.insert(0, wanted)
        self._has_chosen_theme = True
        self.theme = next(name for name in names if self._has_theme(name))
        if wanted not in (None, self.theme):
            self._notices.append(f"There is no theme {wanted!r}; the default is used.")

    def watch_theme(self) -> None:
        """Apply the terminal's own colours if the new theme uses them, on every Textual version."""
        take_over(self)

    def _has_theme(self, name: str) -> bool:
        """Register a theme by its name; return False if there is none.

        The other themes are not made, which would delay the start.
        """
        theme = find_theme(name)
        if theme is not None:
            self.register_theme(theme)
        return name in self.available_themes

    def _fitting_themes(self) -> list[str]:
        """Return the default themes that suit the terminal's background and colours, best first."""
        background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
        names = [DEFAULT_LIGHT if background in ("7", "15") else DEFAULT_DARK, "textual-dark"]
        if has_few_colours(self) and not self.no_color:
            names.insert(0, "terminal")
        return names

    def register_themes(self) -> None:
        """Register the themes of all files, and keep the problems with them as notices."""
        if self._has_all_themes:
            return
        self._has_all_themes = True
        loaded = load_themes()
        for theme in loaded.themes:
            self.register_theme(theme)
        self._notices += [error.one_line for error in loaded.errors]

    def on_mount(self) -> None:
        """Give the prompt the values that can follow a command, and watch for screen changes."""
        # After a stop (Ctrl+Z) Textual enters the alternate screen but does not repaint it.
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        self.screen_change_signal.subscribe(self, lambda _: self.toasts.show(), immediate=True)
        session = self.session
        self.chat.bar.values = {
            "/theme": self._theme_names,
            "/preset": lambda: (
                (preset.name, preset.source) for preset in session.presets.values()
            ),
            "/precision": lambda: ((name, "") for name in PRECISION_NAMES),
            "/model": self._models,
        }

    def _theme_names(self) -> list[tuple[str, str]]:
        self.register_themes()
        return [(name, "") for name in sorted(self.available_themes)]

    def _models(self) -> list[tuple[str, str]]:
        """Return the names of the models; the first call starts reading them off the event loop."""
        if self._model_names is None:
            self._model_names = []
            self.run_worker(self._read_model_names(), group="models", exit_on_error=False)
        return self._model_names

    async def _read_model_names(self) -> None:
        models = await asyncio.to_thread(self.session.models)
        self._model_names = [(model.name, model.description) for model in models]
        self.chat.bar.complete()

    def on_ready(self) -> None:
        """Start the session once the first frame is painted."""
        terminal.on_signal(asyncio.get_running_loop(), self._on_signal)
        self._feed.start()
        self.call_after_refresh(self._start)

    async def _start(self) -> None:
        early, self._early = self._early or [], None
        for event in early:
            await self.on_event(event)
        if self._is_quitting:
            return
        if not gc.isenabled():  # `cli.full_screen` disabled it for the start
            gc.freeze()  # the objects made so far live as long as the program
            gc.enable()
        self.session.start()  # first, because the engine takes longest to be ready
        self._tell_notices()
        self.run_worker(asyncio.to_thread(self._fetch_rest), group="imports", exit_on_error=False)
        self.chat.expect_model()

    def prepare_rest(self) -> None:
        """Schedule idle-time preparation: registering all themes and mounting the side panel."""
        self.set_timer(REST_S, self._prepare_rest)

    def _prepare_rest(self) -> None:
        if not self.chat.panel.can_mount:  # the program is ending
            return
        self.register_themes()
        self._tell_notices()
        self.chat.panel.mount()

    def _fetch_rest(self) -> None:
        """Import what the first frame did without, so that the first message need not wait."""
        import tui_chat.ui.transcript.shown_message  # noqa: F401

        self.session.begin_saving()

    def _tell_notices(self) -> None:
        """Show what was wrong at the start; notices that do not fit are only in the log."""
        for notice in self._notices:
            log.warning("%s", notice)
        shown = self._notices if len(self._notices) <= MOST else self._notices[: MOST - 1]
        for notice in shown:
            self.tell(notice, "warning", 10)
        rest = len(self._notices) - len(shown)
        self._notices.clear()
        if rest:
            text = f"There are {rest} more notices; Ctrl+L shows them."
            self.tell(text, "warning", 10)

    @contextmanager
    def batch_update(self) -> Generator[None, None, None]:
        """Paint the changes of a batch when it ends; Textual would wait for the next message."""
        with super().batch_update():
            yield
        with suppress(ScreenStackError):
            self.screen.check_idle()

    def on_notify(self, event: Notify) -> None:
        """Show one of this app's toasts instead of Textual's."""
        event.prevent_default()
        self.toasts.add(event.notification)

    def clear_notifications(self) -> None:
        """Remove all toasts."""
        self.toasts.clear()

    # Actions --------------------------------------------------------------------------------------

    async def run_command(self, action_id: str, argument: str = "") -> None:
        """Run an action as its key, or its slash command with `argument`, would."""
        await self._commands.run(action_id, argument)

    async def action_perform(self, action_id: str) -> None:
        """Run an action; every key is bound to this."""
        await self._commands.run(action_id)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide keys whose action can do nothing now, and let them pass on to other bindings."""
        if action == "perform" and parameters:
            return self._commands.can(str(parameters[0]))
        return True

    def label_of(self, action: Action) -> str:
        """Return the footer's word for an action in the current state."""
        return self._commands.label_of(action)

    def set_keymap(self, keymap: Mapping[str, str]) -> None:
        """Set the user's keys, and keep them for code that shows keys."""
        self.keymap = dict(keymap)
        super().set_keymap(keymap)

    async def on_event(self, event: events.Event) -> None:
        """Hold back keys that come too early, and let no key overtake another."""
        if self._early is not None and isinstance(event, events.Key | events.Paste):
            self._early.append(event)
            return
        if isinstance(event, events.Key) and event.is_forwarded and self._is_late(event):
            return
        if isinstance(event, events.MouseMove) and not event.button:
            self.capture_mouse(None)  # the release got lost, as when a screen closed meanwhile
        is_mouse = isinstance(event, events.MouseEvent)
        if (
            isinstance(event, events.Key | events.Paste | events.MouseEvent)
            and not event.is_forwarded
            and (self._key_order.is_busy or not is_mouse)
        ):
            await self._key_order.take(event)
        else:
            await super().on_event(event)

    async def _dispatch_key(self, event: KeyOrMouse) -> None:
        """Dispatch a key unless it came too late; any key dismisses a notice that has been read."""
        if isinstance(event, events.Key):
            self.chat.notice.dismiss_if_read()
            is_text = event.is_printable and self.focused is self.chat.bar.prompt
            if self._is_late(event) and not is_text:
                return
        await super().on_event(event)

    def _is_late(self, event: events.Key) -> bool:
        """Return whether the screen in which a key was pressed has closed since.

        Textual would run the binding of the screen below, where a second Enter opens the menu of a
        message. Printable keys for the prompt are still dispatched, so that no text is lost.
        """
        screen = event.pressed_in if isinstance(event, Key) else None
        return screen is not None and screen not in self.screen_stack

    @property
    def is_chat_on_top(self) -> bool:
        """Whether no other screen covers the chat."""
        return self.screen is self.chat

    def tell(
        self, text: str, severity: SeverityLevel = "information", timeout: float | None = None
    ) -> None:
        """Show a toast on the top screen."""
        notify_plain(self.screen, text, severity=severity, timeout=timeout)

    def use_theme(self, name: str) -> None:
        """Switch to a registered theme, and save the choice for the next start."""
        from tui_chat.config.layers import save_setting

        self.theme = name
        try:
            save_setting("theme", name)
        except ConfigError as error:
            self.tell(error.one_line, "warning")

    @contextmanager
    def lend_terminal(self) -> Generator[None, None, None]:
        """Give the terminal to another program for the time of the context."""
        with self.suspend(), terminal.lent_terminal():
            yield
        self.refresh(layout=True)

    def quit(self) -> None:
        """Leave the program once everything is saved."""
        # Run it in the app's message loop, because it waits for the screen's.
        self.call_later(self.quit_in_order, 0)

    # Copying and links ----------------------------------------------------------------------------

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text in the background, and show a toast that says how it was copied."""
        self._copied = text
        self.run_worker(self._copy(text), group="copy", exit_on_error=False)

    @property
    def clipboard(self) -> str:
        """The text copied last, which the fields of the app paste."""
        return self._copied

    async def _copy(self, text: str) -> None:
        from tui_chat.ui import clipboard

        result = await asyncio.to_thread(clipboard.copy, text, self.write_terminal)
        self.tell(result.detail, "information" if result.ok else "warning")

    def write_terminal(self, sequence: str) -> None:
        """Write a control sequence directly to the terminal. May be called from any thread."""
        if self.terminal_driver is not None:
            self.terminal_driver.write(sequence)

    async def ask_about_link(self, url: str) -> None:
        """Ask the user before opening a link from a reply."""
        from tui_chat.ui.screens.dialogs import LinkScreen

        def answered(answer: str | None) -> None:
            if answer == "open":
                self.open_url(url)
            elif answer == "copy":
                self.copy_to_clipboard(url)

        self.push_screen(LinkScreen(url), answered)

    # The way out ----------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        self.run_worker(self.quit_in_order(128 + number), group="quit")

    async def quit_in_order(self, code: int) -> None:
        """Hand in messages on their way, stop the engine, save, and exit with a code.

        Closing the session blocks, so it runs in a worker thread and not on the event loop.
        """
        if self._is_quitting:
            return
        self._is_quitting = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hand_in(), SEND_S)
        self.chat.drafts.keep_draft()
        self.chat.drafts.keep_place()
        self._unsubscribe()
        self.engine_ended = await asyncio.to_thread(self.session.close, CLOSE_S)
        self.exit(code, return_code=code)

    async def _hand_in(self) -> None:
        """Let a message whose Enter came before the end reach the session, so that it is saved too.

        The message passes from the queue of the prompt to that of the screen, and then to the
        outbox.
        """
        for node in self.chat.bar.prompt.ancestors_with_self:
            if node is self:
                break
            passed = asyncio.Event()
            if node.post_message(events.Callback(callback=passed.set)):
                await passed.wait()
        await self.chat.outbox.emptied()


def _keymap(keys: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return Textual's keymap; an action without keys gets one that no keyboard has."""
    return {
        action_id: ",".join(names) or f"{UNBOUND}{action_id}" for action_id, names in keys.items()
    }
