"""The parameter panel of the chat screen: mounting it, showing it and applying its values.

The panel widget itself is `ui.parameters.panel.ParameterPanel`. It is imported and mounted when
the user first opens it or when the app is idle, whichever comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_chat.errors import ParameterError
from tui_chat.ui.chat.page import Page
from tui_chat.ui.chat.token_counter import TokenCounter

if TYPE_CHECKING:
    from tui_chat.ui.parameters.panel import ParameterPanel

BESIDE = 90
"""From this many columns the panel stands beside the transcript; below, it covers it."""


class SidePanel:
    """Controls the parameter panel of a page.

    Args:
        page: The page that the panel stands beside.
        counter: Counts the draft again when a parameter changes the room in the context.
    """

    def __init__(self, page: Page, counter: TokenCounter) -> None:
        self._page = page
        self._counter = counter
        self._panel: ParameterPanel | None = None

    @property
    def is_open(self) -> bool:
        """Whether the panel is visible."""
        return self._panel is not None and self._panel.display

    @property
    def has_focus(self) -> bool:
        """Whether the panel or a widget in it has the focus."""
        return self._panel is not None and self._panel.has_focus_within

    @property
    def can_mount(self) -> bool:
        """Whether the panel's container exists; False once the app has begun to shut down."""
        return bool(self._page.screen.query("#body"))

    def mount(self) -> ParameterPanel:
        """Mount the panel, hidden, unless it is mounted already, and return it.

        The panel has about as many widgets as the rest of the screen, so it is not part of the
        screen's `compose`.
        """
        if self._panel is None:
            from tui_chat.ui.parameters.panel import ParameterPanel

            session = self._page.session
            self._panel = ParameterPanel(
                session.params, session.preset, session.presets, self._context, id="panel"
            )
            self._panel.display = False
            self._page.screen.query_one("#body").mount(self._panel)
        return self._panel

    def set_open(self, is_open: bool, chosen: str = "") -> None:
        """Show or hide the panel, and move the focus with it.

        Args:
            is_open: Whether to show the panel.
            chosen: The name of the row to highlight; the highlight stays if empty.
        """
        panel = self.mount()
        had_focus = panel.has_focus_within
        panel.display = is_open
        self.lay_out(self._page.width)
        if chosen:
            panel.chosen = chosen
        if is_open:
            self._page.focus(panel)
        elif had_focus:
            self._page.focus(self._page.bar.prompt)

    def lay_out(self, width: int) -> None:
        """Put the panel beside the page, or in its place where there is no room for both.

        Args:
            width: Width of the screen in columns; 0 before the first layout.
        """
        covers = self.is_open and 0 < width < BESIDE
        if self._panel is not None:
            self._panel.set_class(covers, "-full")
        self._page.screen.query_one("#page").display = not covers

    def show_params(self) -> None:
        """Update the panel with the session's parameters, and count the draft again."""
        session, panel = self._page.session, self._panel
        if panel is not None:
            panel.presets = session.presets
            panel.preset = session.preset
            panel.params = session.params
            panel.context = self._context
        self._counter.recount()

    @property
    def _context(self) -> int:
        info = self._page.session.info
        return info.context if info is not None else 2048

    def take(self, name: str, value: object) -> None:
        """Set a parameter of the session; decoding uses the new value from the next token on.

        A toast says why if the session rejects the value.
        """
        try:
            self._page.session.set_param(name, value)
        except ParameterError as error:
            self._page.tell(error.one_line, "warning")

    def take_preset(self, name: str) -> None:
        """Apply a preset; if the session rejects it, show the previous one again."""
        try:
            self._page.session.apply_preset(name)
        except ParameterError as error:
            self._page.tell(error.one_line, "warning")
            self.show_params()
