"""The dispatcher: it maps the id of an action to the code that runs it.

Every key, slash command, menu and palette entry goes through `Commands`, which also says whether an
action is available now and how the footer labels it. The tables contain every action of
`tui_chat.actions`, except those that the parameter panel handles.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_chat.actions import Action, action_by_id
from tui_chat.chat.known_names import PRECISION_NAMES
from tui_chat.chat.params import parse_assignment
from tui_chat.config import paths
from tui_chat.errors import ConfigError, TuiChatError, UsageError
from tui_chat.safe_text import safe_line
from tui_chat.ui.chat.status_text import why_not_saved
from tui_chat.ui.commands.best_of import BestCommands
from tui_chat.ui.commands.chats import ChatCommands
from tui_chat.ui.commands.host import Command, Host
from tui_chat.ui.commands.messages import MessageCommands
from tui_chat.ui.commands.search import SearchCommands
from tui_chat.ui.commands.versions import TreeCommands
from tui_chat.ui.remedies import notify_error

if TYPE_CHECKING:
    from tui_chat.ui.chat.screen import ChatScreen
    from tui_chat.ui.screens.models import LoadChoice

AGAIN_S = 3.0
"""Seconds within which a second press of the same key confirms the first."""
_EVERYWHERE = ("quit", "interrupt")
_IN_TURN = frozenset({
    "new", "open", "regenerate", "model", "precision", "system", "set", "preset", "export", "save",
    "inspector", "stop", "tree", "rank", "label", "best", "compact",
})  # fmt: skip
"""Actions that wait for the outbox, because they apply to the chat with all drafts sent so far."""


_LEAVING = frozenset({"new", "open", "fork"})
"""Actions that may open another chat."""


class Commands:
    """Runs the actions of the app by id.

    Args:
        host: The app to act on.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._messages = MessageCommands(host)
        self._pressed_once: dict[str, float] = {}
        now = self._soon
        self._table: dict[str, Command] = {
            **self._messages.table,
            **ChatCommands(host).table,
            **TreeCommands(host).table,
            **SearchCommands(host).table,
            **BestCommands(host).table,
            "help": self._help,
            "parameters": now(lambda: self._chat.panel.set_open(not self._chat.panel.is_open)),
            "model": self._model,
            "precision": self._precision,
            "inspector": now(self._inspector),
            "theme": self._theme,
            "open": self._open,
            "new": now(self._new),
            "regenerate": now(self._regenerate),
            "editor": self._editor,
            "log": now(self._log),
            "palette": now(self._palette),
            "stop": self._stop,
            "interrupt": self._interrupt,
            "quit": now(host.quit),
            "save": now(self._save),
            "export": self._export,
            "set": self._set,
            "preset": self._preset,
            "system": self._system,
            "scroll_up": now(lambda: self._chat.transcript.scroll_page(-1)),
            "scroll_down": now(lambda: self._chat.transcript.scroll_page(1)),
            "follow": now(lambda: self._chat.transcript.follow()),
            "previous_message": now(lambda: self._select(-1)),
            "next_message": now(lambda: self._select(1)),
            "send": now(lambda: self._chat.bar.send()),
            "newline": now(lambda: self._chat.bar.newline()),
            "history_previous": now(lambda: self._chat.bar.history_previous()),
            "history_next": now(lambda: self._chat.bar.history_next()),
        }

    @staticmethod
    def _soon(act: Callable[[], object]) -> Command:
        """Wrap a plain function as a command that ignores its argument."""

        async def command(_: str) -> None:
            act()

        return command

    @property
    def _chat(self) -> ChatScreen:
        return self._host.chat

    # Running --------------------------------------------------------------------------------------

    async def run(self, action_id: str, argument: str = "") -> None:
        """Run an action, after the outbox if the action needs the drafts that are being sent.

        A `TuiChatError` is shown as a toast and not raised.

        Args:
            action_id: The id of an action of `tui_chat.actions`.
            argument: The argument of a slash command; empty for a key.
        """
        outbox = self._chat.outbox
        if action_id in _LEAVING:
            self._chat.drafts.keep_place()
        if action_id in _IN_TURN and outbox.is_busy:
            outbox.after(lambda: self._run(action_id, argument))
        else:
            await self._run(action_id, argument)

    async def _run(self, action_id: str, argument: str) -> None:
        try:
            await self._table[action_id](argument)
        except TuiChatError as error:
            notify_error(self._chat, error, timeout=6)

    def can(self, action_id: str) -> bool:
        """Return whether the key of an action has an effect now."""
        if action_id not in self._table:
            return False
        if not self._host.is_chat_on_top:
            return action_id in _EVERYWHERE
        scope = action_by_id(action_id).scope
        if scope == "prompt":
            return self._chat.bar.can(action_id)
        if scope == "transcript":
            return self._messages.can(action_id)
        if action_id == "stop":
            return bool(self._esc_label())
        if action_id == "best":
            return not self._host.session.is_busy
        if action_id == "regenerate":
            return bool(self._chat.transcript.path) and not self._host.session.is_busy
        return True

    def label_of(self, action: Action) -> str:
        """Return the footer label of an action in the current state; empty to leave it out."""
        if action.id == "stop":
            return self._esc_label()
        if action.id == "send":
            bar = self._chat.bar
            if not bar.draft:
                return ""
            return "Keep" if bar.is_editing_reply else action.label
        if action.id == "parameters" and self._chat.panel.is_open:
            return "Close"
        return action.label

    # Esc and Ctrl+C -------------------------------------------------------------------------------

    def _esc_label(self) -> str:
        """Return the label of Esc; empty where the panel handles it or it does nothing."""
        # The order of the cases follows `_stop`, so that the footer names what Esc will do.
        chat, session = self._chat, self._host.session
        if chat.panel.has_focus:
            return ""
        if chat.bar.is_completing or chat.find.has_focus:
            return "Close"
        if session.is_busy:
            return "Stop"
        if chat.focused is None:
            return "Prompt"
        if chat.bar.editing is not None:
            return "Back"
        if chat.transcript.has_focus:
            return "Prompt"
        if chat.panel.is_open:
            return "Close"
        if session.state == "loading":
            return "Stop"
        return "Transcript" if chat.transcript.path else ""

    async def _stop(self, _: str) -> None:
        chat, session = self._chat, self._host.session
        if chat.get_selected_text():
            chat.clear_selection()
        elif chat.bar.is_completing:
            chat.bar.close_completions()
        elif chat.find.has_focus:
            await chat.find.close()
        elif session.is_busy:
            session.cancel()
        elif chat.focused is None:
            chat.focus_prompt()
        elif chat.bar.editing is not None:
            chat.bar.leave_edit()
        elif chat.transcript.has_focus:
            if not chat.transcript.clear_code_block():
                chat.focus_prompt()
        elif chat.panel.is_open:
            chat.panel.set_open(False)
        elif session.state == "loading":
            if self._again("stop", "Press Esc again to stop loading."):
                session.cancel()
        else:
            chat.focus_transcript()

    async def _interrupt(self, _: str) -> None:
        host, session = self._host, self._host.session
        if host.is_chat_on_top:
            chat = host.chat
            selected = chat.get_selected_text() or chat.bar.prompt.selected_text
            if selected:
                chat.clear_selection()
                chat.bar.prompt.move_cursor(chat.bar.prompt.cursor_location)  # clears the selection
                host.copy_to_clipboard(selected)
                return
            if chat.bar.draft:
                chat.bar.clear()
                return
            if session.is_busy:
                session.cancel()
                return
        if self._again("interrupt", "Press Ctrl+C again to quit."):
            host.quit()

    def _again(self, action_id: str, text: str) -> bool:
        """Return whether this press is the second within `AGAIN_S` seconds.

        If it is the first, show `text`, which says what a second press will do.
        """
        now = time.monotonic()
        if now - self._pressed_once.get(action_id, float("-inf")) <= AGAIN_S:
            return True
        self._pressed_once[action_id] = now
        self._host.tell(text, timeout=AGAIN_S)
        return False

    # Screens, imported when they are first opened -------------------------------------------------

    async def _help(self, _: str) -> None:
        from tui_chat.ui.screens.help import HelpScreen

        focused = self._host.focused
        topic = "prompt"
        if focused is not None:
            places = ("Transcript", "ParameterPanel")
            names = {type(node).__name__ for node in focused.ancestors_with_self}
            topic = next((place for place in places if place in names), "prompt")
        self._host.push_screen(HelpScreen(topic))

    def _inspector(self) -> None:
        from tui_chat.ui.screens.inspector import InspectorScreen

        self._host.push_screen(InspectorScreen(self._host.session))

    def _log(self) -> None:
        from tui_chat.ui.screens.log import LogScreen

        self._host.push_screen(LogScreen(paths.log_file()))

    def _palette(self) -> None:
        from tui_chat.ui.commands.palette import Palette

        self._host.register_themes()
        self._host.push_screen(Palette())

    async def _model(self, name: str) -> None:
        if name:
            self._load(name)
            return
        from tui_chat.ui.screens.models import ModelScreen

        def chosen(choice: LoadChoice | None) -> None:
            if choice is not None:
                self._load(choice.model, choice.precision)

        self._host.push_screen(ModelScreen(self._host.session), chosen)

    def _load(self, model: str, precision: str = "auto") -> None:
        self._host.session.switch_model(model, precision)
        self._chat.expect_model(model, precision)

    async def _precision(self, name: str) -> None:
        if name:
            if name not in PRECISION_NAMES:
                known = ", ".join(PRECISION_NAMES)
                raise UsageError(f"There is no precision {name!r}", "", f"Known: {known}")
            self._load_in(name)
            return
        from tui_chat.ui.screens.precision import PrecisionScreen

        def chosen(precision: str | None) -> None:
            if precision is not None:
                self._load_in(precision)

        self._host.push_screen(PrecisionScreen(self._host.session), chosen)

    def _load_in(self, precision: str) -> None:
        self._host.session.switch_precision(precision)
        self._chat.expect_model(precision=precision)

    async def _theme(self, name: str) -> None:
        self._host.register_themes()
        if name:
            if name not in self._host.available_themes:
                near = difflib.get_close_matches(name, self._host.available_themes, n=1)
                hint = f"Did you mean {near[0]}?" if near else "F9 lists them"
                raise ConfigError(f"There is no theme {name!r}", "", hint)
            self._keep_theme(name)
            return
        from tui_chat.ui.screens.themes import ThemeScreen

        self._host.push_screen(ThemeScreen(), self._keep_theme)

    def _keep_theme(self, name: str | None) -> None:
        if name is not None:
            self._host.use_theme(name)

    async def _open(self, chat_id: str) -> None:
        async def chosen(chosen_id: str | None) -> None:
            if chosen_id is not None:
                await self.run("open", chosen_id)

        if not chat_id:
            from tui_chat.ui.screens.saved_chats import TranscriptsScreen

            self._host.push_screen(TranscriptsScreen(self._host.session), chosen)
            return
        session = self._host.session
        conversation = await asyncio.to_thread(session.load_chat, chat_id)
        is_being_written = conversation.id == session.conversation.id and session.is_busy
        if not is_being_written:  # the saved copy of an unfinished reply is older than the open one
            await asyncio.to_thread(session.open_chat, conversation)
        self._chat.focus_prompt()

    def _new(self) -> None:
        self._host.session.new_chat()
        self._chat.focus_prompt()

    def _regenerate(self) -> None:
        self._host.session.regenerate()
        self._chat.transcript.follow()

    async def _editor(self, _: str) -> None:
        from tui_chat.ui.prompt.external_editor import edit_text, editor_command

        prompt = self._chat.bar.prompt
        before = prompt.draft.full
        command = editor_command(os.environ)
        with self._host.lend_terminal():
            after = edit_text(before, command)
        if after != before:
            prompt.load_full(after)
        self._chat.set_focus(prompt)

    def _save(self) -> None:
        state = self._host.session.save_state
        if state is None:
            raise TuiChatError("This chat is not saved", "", "Start without --no-save, or /export")
        if not state.ok:
            why = why_not_saved(state.detail)
            raise TuiChatError("This chat is not saved at the moment", why, "Use /export")
        where = safe_line(str(paths.database_file()))
        self._host.tell(f"Every message is saved as it comes, in {where}", timeout=8)

    async def _export(self, name: str) -> None:
        from tui_chat.storage.formats.table import export_to_file

        conversation = self._host.session.conversation
        if name:
            path = Path(name).expanduser()
        else:
            path = paths.private_dir(paths.exports_dir()) / f"chat-{conversation.id[:8]}.md"
        written = await asyncio.to_thread(export_to_file, conversation, path, overwrite=not name)
        where = safe_line(str(written.absolute()))
        self._host.tell(f"Written to {where}", timeout=8)

    # Parameters -----------------------------------------------------------------------------------

    async def _set(self, text: str) -> None:
        if not text:
            self._chat.panel.set_open(True)
            return
        name, value = parse_assignment(text)
        self._host.session.set_param(name, value)
        self._host.tell(f"{name} is {safe_line(str(value), 60)} from the next token on.")

    async def _preset(self, name: str) -> None:
        if not name:
            self._chat.panel.set_open(True, chosen="preset")
            return
        self._host.session.apply_preset(name)
        self._host.tell(f"The parameters are those of {safe_line(name, 60)}.")

    async def _system(self, text: str) -> None:
        session = self._host.session
        if text:
            session.set_system(text)
            self._host.tell("The system message is set.")
            return
        current = session.conversation.system
        shown = f"System message: {current}" if current else "There is no system message."
        self._host.tell(shown, timeout=8)

    def _select(self, step: int) -> None:
        transcript = self._chat.transcript
        if transcript.path:
            self._chat.set_focus(transcript, scroll_visible=False)
            transcript.select_step(step)
