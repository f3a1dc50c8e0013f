"""The parameters beside the chat: when they are shown, where, and what is taken from them.

Owns the panel, which is made when it is needed or nobody waits, and its place. What the values are,
the session knows; how they are changed, the panel does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_chat.errors import ParameterError
from tui_chat.ui.chat.page import Page
from tui_chat.ui.chat.token_counter import TokenCounter

if TYPE_CHECKING:
    from tui_chat.ui.parameters.panel import ParameterPanel

BESIDE = 90
"""From this many columns on the parameters stand beside the text; below they cover it."""


class SidePanel:
    """Shows the parameters of the session.

    Args:
        page: Beside what they are shown.
        counter: Counts again when they leave other room in the context.
    """

    def __init__(self, page: Page, counter: TokenCounter) -> None:
        self._page = page
        self._counter = counter
        self._panel: ParameterPanel | None = None

    @property
    def is_open(self) -> bool:
        """Whether the parameters are shown."""
        return self._panel is not None and self._panel.display

    @property
    def has_focus(self) -> bool:
        """Whether keys go to the parameters."""
        return self._panel is not None and self._panel.has_focus_within

    @property
    def can_mount(self) -> bool:
        """Whether there is a page to stand beside; when the program ends it goes first."""
        return bool(self._page.screen.query("#body"))

    def mount(self) -> ParameterPanel:
        """Mount the panel, once; it begins hidden. It has as many widgets as all else."""
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
        """Show or hide the parameters.

        Args:
            is_open: Whether they are shown.
            chosen: The row to go to.
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
        """Put the panel beside the page, or over it where there is no room for both.

        Args:
            width: Columns of the screen; 0 before it has a size.
        """
        covers = self.is_open and 0 < width < BESIDE
        if self._panel is not None:
            self._panel.set_class(covers, "-full")
        self._page.screen.query_one("#page").display = not covers

    def show_params(self) -> None:
        """Show the session's parameters, and what they leave of the context."""
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
        """Take a value; it counts from the next token on."""
        try:
            self._page.session.set_param(name, value)
        except ParameterError as error:
            self._page.tell(error.one_line, "warning")

    def take_preset(self, name: str) -> None:
        """Take a preset; the panel goes back to the one before if it can't be."""
        try:
            self._page.session.apply_preset(name)
        except ParameterError as error:
            self._page.tell(error.one_line, "warning")
            self.show_params()
