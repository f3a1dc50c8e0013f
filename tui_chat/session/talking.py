"""Talking: a message goes in, events come back, a reply grows and is saved."""

from __future__ import annotations

import logging
import os
from typing import Literal

from tui_chat.chat.conversation import Conversation, Message, title_from
from tui_chat.chat.events import Delta, EngineEvent, Failed, Finished, Prefill
from tui_chat.chat.notes import with_note
from tui_chat.engine.backend import GenerateRequest
from tui_chat.errors import BusyError, ContextError
from tui_chat.safe_text import storable
from tui_chat.session.events import EngineUpdate, RequestFailed, TreeChanged
from tui_chat.session.model_control import ModelControl
from tui_chat.session.reply import Reply, sendable

log = logging.getLogger(__name__)


COMMIT_S = 2.0
"""Longest wait for a message to be on the disk before the model begins."""


def _random_seed() -> int:
    """A seed of 63 bits. The `secrets` module would bring a library of ciphers to the start."""
    return int.from_bytes(os.urandom(8), "big") >> 1


class Talking(ModelControl):
    """Sends messages and applies what the engine says about the replies."""

    def send(self, text: str) -> Message:
        """Add a user message and have it answered; it waits while the model loads or is busy.

        Returns:
            The reply, empty so far.

        Raises:
            ContextError: If the text is empty or alone too long for the context.
        """
        text = storable(text)
        if not text.strip():
            raise ContextError("There is nothing to send", "The message is empty", "Type a message")
        view = self.context_view(text)
        composer = self._current_composer()
        if view.is_too_long and composer is not None:
            system = f" and the {view.system} of the system message" * bool(view.system)
            raise ContextError(
                "The message is too long",
                f"It has {view.draft} tokens, and {view.longest_draft} fit beside the "
                f"{composer.reserve} kept for the reply{system}",
                "Shorten it, or start the program with a smaller --reserve",
            )
        with self._lock:
            conversation = self._conversation
            conversation.title = conversation.title or title_from(text)
            user = conversation.append("user", text)
            reply = conversation.append("assistant", "", status="waiting")
            self._save(conversation, user)
        return self._enqueue(conversation, reply)

    def cancel(self) -> Literal["reply", "note", "waiting", "loading", ""]:
        """Stop the newest thing that runs, and say what that was.

        A running reply keeps its text. A waiting message is taken back. A download or a switch of
        the model is given up.
        """
        with self._lock:
            running = next((r for r in self._replies.values() if r.has_begun), None)
            waiting = [r for r in self._replies.values() if not r.has_begun]
            target = running or (waiting[-1] if waiting else None)
            load = self._load_job if self._state == "loading" else None
        if target is not None and target.job is not None:
            target.job.cancel()
            return "reply" if target is running else "waiting"
        if load is not None:
            load.cancel()
            return "loading"
        return ""

    def _enqueue(
        self, conversation: Conversation, message: Message, is_continuation: bool = False
    ) -> Message:
        reply = Reply(conversation, message.id, is_continuation)
        with self._lock:
            self._replies[message.id] = reply
            self._save_header(conversation)
            reply.committed = self._save(conversation, message)
            is_begun = self._load_job is not None or self._backend.info is not None
            if is_begun and self._growing_note is None:
                self._submit(reply)  # else it is queued behind the model, or behind the note
        self._tell(TreeChanged())
        return message

    def _submit(self, reply: Reply) -> None:
        """Queue the reply behind everything that was asked for before."""
        reply.attempt += 1
        attempt = reply.attempt
        reply.job = self._runner.submit_generate(
            lambda: self._prepare(reply, attempt),
            lambda event: self._on_event(reply, event) if reply.attempt == attempt else None,
        )

    def _requeue_waiting(self) -> None:
        """Queue what waits again, behind the model that is to be loaded first."""
        for reply in self._replies.values():
            if not reply.has_begun:
                stale = reply.job
                self._submit(reply)
                if stale is not None:
                    stale.cancel()

    def _prepare(self, reply: Reply, attempt: int) -> GenerateRequest:
        """Compose the prompt when the reply's turn has come. Runs on the engine thread."""
        if reply.attempt != attempt:
            raise BusyError("The message waits for another model")
        composer = self._current_composer()
        info = self._backend.info
        if composer is None or info is None:
            raise ContextError("No model is loaded", "", "Press F3 to choose one")
        with self._lock:
            conversation = reply.conversation
            path = with_note(conversation.path(reply.message_id))
            path = sendable(path, keep_last=reply.is_continuation)
            prompt = composer.compose(path, conversation.system, reply.is_continuation)
            params = self.params
            seed = params.seed if params.seed is not None else _random_seed()
            committed = self._save(conversation, reply.begin(composer, info, params, seed))
        for saved in (reply.committed, committed):
            # A disk that fails must not stop the chat; the writer keeps what it could not save.
            if saved is not None and self._writer is not None:
                self._writer.wait_saved(saved, COMMIT_S)
        return GenerateRequest(
            ids=prompt.ids,
            params=lambda: self.params,
            seed=seed,
            stop_ids=composer.template.stop_tokens(composer.encoder),
            context=composer.context,
            dropped_turns=prompt.dropped_turns,
        )

    def _on_event(self, reply: Reply, event: EngineEvent) -> None:
        """Apply what the engine says about a reply. Runs on the engine thread."""
        with self._lock:
            if isinstance(event, Prefill):
                self._state = "prefill"
            elif isinstance(event, Delta):
                self._state = "decoding"
                event = reply.take(event)
                due = reply.checkpoint()
                if due is not None and self._writer is not None:
                    self._writer.checkpoint(reply.conversation.id, due)
            elif isinstance(event, Finished | Failed):
                self._end(reply, event)
        self._tell(EngineUpdate(reply.message_id, event))
        if isinstance(event, Finished | Failed):
            self._tell(TreeChanged())

    def _end(self, reply: Reply, event: Finished | Failed) -> None:
        self._replies.pop(reply.message_id, None)
        if self._state in ("prefill", "decoding"):
            self._state = "ready"
        if isinstance(event, Finished) and not reply.has_begun:
            event = Failed("cancelled", "The message was not sent")
        had_text = reply.has_text
        if isinstance(event, Finished):
            self._last_stats = event.stats
            message = reply.finish(event)
        else:
            message = reply.fail(event)
        self._save(reply.conversation, message)
        self._save_header(reply.conversation)
        if isinstance(event, Failed) and not had_text and reply.conversation is self._conversation:
            self._tell(RequestFailed(reply.message_id, event))
