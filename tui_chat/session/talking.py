"""Sending messages: the queue of replies, their prompts, and the engine's events about them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Literal

from tui_chat.chat.conversation import Conversation, Message, title_from
from tui_chat.chat.events import Delta, EngineEvent, Failed, Finished, Prefill
from tui_chat.chat.notes import with_note
from tui_chat.engine.contract.backend import GenerateRequest
from tui_chat.errors import BusyError, ContextError, Remedy
from tui_chat.safe_text import storable
from tui_chat.session.events import EngineUpdate, RequestFailed, TreeChanged
from tui_chat.session.model_control import ModelControl
from tui_chat.session.reply import Reply, sendable

log = logging.getLogger(__name__)


COMMIT_S = 2.0
"""Longest wait, in seconds, for a message to be on disk before the model begins."""


def _random_seed() -> int:
    """Return a random 63-bit seed; importing `secrets` would slow the start."""
    return int.from_bytes(os.urandom(8), "big") >> 1


def _seeds(wanted: int | None, count: int) -> list[int]:
    """Return one seed per reply: the wanted one and its successors, or random ones if None."""
    if wanted is None:
        return [_random_seed() for _ in range(count)]
    return [(wanted + number) % 2**64 for number in range(count)]


class Talking(ModelControl):
    """The part of the session that sends messages and receives replies."""

    def send(self, text: str) -> Message:
        """Add a user message and queue its reply, which waits while the model loads or is busy.

        Returns:
            The reply, empty so far.

        Raises:
            ContextError: If the text is empty, or does not fit into the context by itself.
        """
        text = self._sendable_text(text)
        with self._lock:
            conversation = self._conversation
            user = self._append_user(conversation, text)
            reply = conversation.append("assistant", "", status="waiting")
        return self._enqueue(conversation, reply, question=user)

    def _append_user(self, conversation: Conversation, text: str) -> Message:
        conversation.title = conversation.title or title_from(text)
        return conversation.append("user", text)

    def _sendable_text(self, text: str) -> str:
        """Return the text in the form in which it is stored and sent.

        Raises:
            ContextError: If it is empty, or does not fit into the context by itself.
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
        return text

    def cancel(self) -> Literal["reply", "note", "waiting", "loading", ""]:
        """Stop the running reply, the newest waiting message or the load, and return which it was.

        A running reply keeps its text, and so do the replies beside it. A waiting message ends as
        not sent. A download or a switch of the model is abandoned.
        """
        with self._lock:
            running = next((r for r in self._replies.values() if r.has_begun), None)
            waiting = [r for r in self._replies.values() if not r.has_begun]
            target = running or (waiting[-1] if waiting else None)
            load = self._load_job if self._state == "loading" else None
        if target is not None and target.job is not None:
            for reply in target.beside or (target,):
                if reply.job is not None:
                    reply.job.cancel()
            return "reply" if target is running else "waiting"
        if load is not None:
            load.cancel()
            return "loading"
        return ""

    def _enqueue(
        self,
        conversation: Conversation,
        message: Message,
        is_continuation: bool = False,
        question: Message | None = None,
    ) -> Message:
        reply = Reply(conversation, message.id, is_continuation)
        self._enqueue_replies([reply], question)
        return message

    def _enqueue_replies(self, replies: Sequence[Reply], question: Message | None = None) -> None:
        """Save waiting replies and queue them.

        Args:
            replies: One reply, or several to the same message.
            question: That message if it is new; it is saved in the same transaction.
        """
        conversation = replies[0].conversation
        with self._lock:
            # In one transaction: the header names the leaf, which must exist in the database.
            with self._saving_together():
                if question is not None:
                    self._save(conversation, question)
                for reply in replies:
                    self._replies[reply.message_id] = reply
                    reply.committed = self._save(conversation, reply.message)
                if conversation is self._conversation:
                    self._note_chosen_params()
                self._save_header(conversation)
            is_begun = self._load_job is not None or self._backend.info is not None
            if is_begun and self._growing_note is None:
                self._submit(replies[0])  # else _load or the end of the note submits it
        self._tell(TreeChanged())

    def _submit(self, reply: Reply) -> None:
        """Queue the reply and those beside it behind all earlier requests."""
        if reply.beside:
            self._submit_several(reply.beside)
            return
        reply.attempt += 1
        attempt = reply.attempt
        reply.job = self._runner.submit_generate(
            lambda: self._prepare([reply], attempt)[0],
            lambda event: self._on_event(reply, event) if reply.attempt == attempt else None,
        )

    def _submit_several(self, replies: Sequence[Reply]) -> None:
        attempt = replies[0].attempt + 1
        for reply in replies:
            reply.attempt = attempt
        jobs = self._runner.submit_several(
            lambda: self._prepare(replies, attempt),
            len(replies),
            lambda number, event: (
                self._on_event(replies[number], event)
                if replies[number].attempt == attempt
                else None
            ),
        )
        for reply, job in zip(replies, jobs, strict=True):
            reply.job = job

    def _requeue_waiting(self) -> None:
        """Submit waiting replies again, so that they come after the model that is about to load."""
        for reply in self._replies.values():
            together = reply.beside or (reply,)
            if reply.has_begun or reply is not together[0]:
                continue
            stale = [r.job for r in together if r.job is not None]
            # First, as it raises `attempt`: the events of the cancelled jobs are then ignored.
            self._submit(reply)
            for job in stale:
                job.cancel()

    def _prepare(self, replies: Sequence[Reply], attempt: int) -> list[GenerateRequest]:
        """Compose the prompt of a reply when its turn comes. Runs on the engine thread.

        Args:
            replies: The reply, or all replies written side by side.
            attempt: The submission that this call belongs to.

        Raises:
            BusyError: If the reply has been submitted again since.
            ContextError: If no model is loaded, or the prompt does not fit.
        """
        if replies[0].attempt != attempt:
            raise BusyError("The message waits for another model")
        composer = self._current_composer()
        info = self._backend.info
        if composer is None or info is None:
            raise ContextError("No model is loaded", "", "Choose one", Remedy.CHOOSE_MODEL)
        with self._lock:
            first, conversation = replies[0], replies[0].conversation
            path = with_note(conversation.path(first.message_id))
            path = sendable(path, keep_last=first.is_continuation)
            prompt = composer.compose(path, conversation.system, first.is_continuation)
            params = self.params
            seeds = _seeds(params.seed, len(replies))
            saved = [reply.committed for reply in replies]
            for reply, seed in zip(replies, seeds, strict=True):
                begun = reply.begin(composer, info, params, seed)
                saved.append(self._save(conversation, begun))
        self._wait_saved(saved)
        return [
            GenerateRequest(
                ids=prompt.ids,
                params=lambda: self.params,
                seed=seed,
                stop_ids=composer.template.stop_tokens(composer.encoder),
                context=composer.context,
                dropped_turns=prompt.dropped_turns,
            )
            for seed in seeds
        ]

    def _wait_saved(self, saved: Sequence[Future[None] | None]) -> None:
        """Wait for messages to be on disk, at most `COMMIT_S` seconds in all.

        A failing disk must not block the chat; the writer retries what it could not save.
        """
        deadline = time.monotonic() + COMMIT_S
        for future in saved:
            if future is not None and self._writer is not None:
                self._writer.wait_saved(future, max(0.0, deadline - time.monotonic()))

    def _on_event(self, reply: Reply, event: EngineEvent) -> None:
        """Apply an engine event about a reply. Runs on the engine thread."""
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

    @property
    def _is_writing(self) -> bool:
        """Whether the engine is writing a reply."""
        return any(reply.has_begun for reply in self._replies.values())

    def _end(self, reply: Reply, event: Finished | Failed) -> None:
        if isinstance(event, Finished) and not reply.has_begun:
            event = Failed("cancelled", "The message was not sent")
        had_text = reply.has_text
        if isinstance(event, Finished):
            self._last_stats = event.stats
            message = reply.finish(event)
        else:
            message = reply.fail(event)
        # After the text is complete, so that a reader who sees no running reply sees all of it.
        self._replies.pop(reply.message_id, None)
        if self._state in ("prefill", "decoding") and not self._is_writing:
            self._state = "ready"
        with self._saving_together():
            self._save(reply.conversation, message)
            self._save_header(reply.conversation)
        if isinstance(event, Failed) and not had_text and reply.conversation is self._conversation:
            self._tell(RequestFailed(reply.message_id, event))
