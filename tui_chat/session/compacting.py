"""Compaction: the model writes a note that replaces older turns in the prompt.

A note is stored as a mark on a message, so it is saved, undone and redone like any other mark, and
the turns that it replaces stay in the tree. The tree changes only when the note is complete, since
half a note would hide turns that it does not cover.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tui_chat.chat.conversation import Conversation, Message, now
from tui_chat.chat.events import Delta, EngineEvent, Failed, Finished, Prefill, Stats
from tui_chat.chat.marks import Note
from tui_chat.chat.notes import as_message, divided, system_text
from tui_chat.engine.contract.backend import GenerateRequest
from tui_chat.engine.contract.runner import JobHandle
from tui_chat.errors import BusyError, ConfigError, ContextError, Remedy
from tui_chat.safe_text import storable
from tui_chat.session.choosing import Choosing
from tui_chat.session.events import EngineUpdate, TreeChanged

if TYPE_CHECKING:
    from tui_chat.chat.note_prompts import Part
    from tui_chat.chat.prompt import PromptComposer, Turn

_KEEPS = "Say how many of the newest turns to keep, such as 4, to sum up those above them"


@dataclass(slots=True)
class _Writing:
    """The state of a note that the model is writing, one part of the turns at a time."""

    conversation: Conversation
    message_id: str
    """The last message that the note will replace."""
    turns: list[Turn]
    """The turns that still have to be summed up."""
    before: str
    """The summary of the turns before those."""
    tokens: int = 0
    """Largest length of the note, in tokens."""
    job: JobHandle | None = None
    part: Part | None = None
    """The part that the model is summing up now."""
    text: list[str] = field(default_factory=list)
    written: int = 0
    lead: str = ""


class Compacting(Choosing):
    """The part of the session that writes, edits and removes notes."""

    _writing: _Writing | None = None

    def compact(self, keep: int | None = None) -> int:
        """Have the model write a note that replaces older turns. Counts tokens; not for a UI loop.

        Args:
            keep: Number of newest turns to leave as they are, at least 1. None sums up the turns
                above the forget line, which no longer fit into the prompt.

        Returns:
            The number of turns to be summed up, not counting those of an earlier note.

        Raises:
            BusyError: If the engine is writing, or no model is loaded.
            ContextError: If there is nothing to sum up, or the model cannot take a note.
        """
        # not needed before the first frame
        from tui_chat.chat.prompt import group_turns, in_pinned_turns

        self._target(None)
        composer, info = self._current_composer(), self._backend.info
        if composer is None or info is None:
            raise BusyError("The model is not loaded yet", "", "Wait until it is")
        self._require_notes(composer)
        path = self._paths()[1]
        note, _, after = divided(path)
        pinned = in_pinned_turns(after)
        groups = group_turns(after)
        chosen = groups[: self._end_of(groups, composer, keep)]
        turns = [
            tuple(composer.prompt_message(m) for m in turn)
            for turn in chosen
            if turn[0].id not in pinned
        ]
        if not turns:
            raise _nothing_to_sum_up(keep, len(groups), note is not None)
        with self._lock:
            # Counting tokens took a while without the lock, so check again.
            self._target(None)
            if self._paths()[1] is not path:
                raise BusyError(
                    "The chat has changed meanwhile", "", "Try again", Remedy.WRITE_NOTE
                )
            conversation = self._conversation
            writing = _Writing(
                conversation,
                self._last_before(conversation, groups[len(chosen) :]),
                turns,
                note.text if note is not None else "",
            )
            self._writing = writing
            self._show_growing(writing, info.name, info.precision)
            self._submit_part(writing)
        self._tell(TreeChanged())
        return len(turns)

    def edit(self, message_id: str, text: str) -> Message:
        """Edit a message, as `Editing.edit` does, or replace the text of a note in place.

        Undo restores the old text of the note.
        """
        text = storable(text)
        with self._lock:
            if message_id in self._conversation or not self.is_here(message_id):
                return super().edit(message_id, text)
            note = self._kept_note(message_id)
            if not text.strip():
                raise ContextError("The note was not changed", "The text is empty", "Type a text")
            self._mark_note("Edit", message_id, replace(note, text=text, tokens=0, edited=True))
            return self.message(message_id)

    def delete(self, message_id: str) -> bool:
        """Delete a message, as `Editing.delete` does, or remove a note, which undo restores.

        Without its note, the chat is sent as before compaction.
        """
        with self._lock:
            if message_id in self._conversation or not self.is_here(message_id):
                return super().delete(message_id)
            self._kept_note(message_id)
            self._mark_note("Remove note", message_id, None)
            return True

    def cancel(self) -> Literal["reply", "note", "waiting", "loading", ""]:
        with self._lock:
            writing = self._writing
        if writing is not None and writing.job is not None:
            writing.job.cancel()
            return "note"
        return super().cancel()

    def stop_all(self) -> None:
        """Stop the running reply, keeping its text, and drop a note that the model is writing.

        Waiting messages stay in the queue.
        """
        with self._lock:
            writing = self._writing
        if writing is not None and writing.job is not None:
            writing.job.cancel()
        super().stop_all()

    def message(self, message_id: str) -> Message:
        with self._lock:
            writing, shown = self._writing, self._growing_note
            if writing is not None and shown is not None and shown.id == message_id:
                text = "".join(writing.text)
                if shown.text != text:
                    self._grow(replace(shown, text=text))
            return super().message(message_id)

    # Choosing the turns

    def _require_notes(self, composer: PromptComposer) -> None:
        """Check that the template takes a system message, since that is how a note is sent.

        Raises:
            ContextError: If it takes none.
        """
        from tui_chat.chat.templates import PromptMessage

        probe = PromptMessage("note", "system", system_text("", "x"))
        try:
            composer.template.render((probe, PromptMessage("x", "user", "x")), composer.encoder)
        except ConfigError as error:
            raise ContextError(
                "This model can't be given a note",
                f"A note is sent as a system message, and its template takes none: {error.title}",
                "Name another template in models.toml, or load another model",
                Remedy.CHOOSE_MODEL,
            ) from None

    def _end_of(
        self, groups: list[tuple[Message, ...]], composer: PromptComposer, keep: int | None
    ) -> int:
        """Return how many of the turns after the present note the new note will replace."""
        if keep is not None:
            return max(0, len(groups) - max(1, keep))
        view = composer.view(self._paths()[1], self._conversation.system, "")
        if view.dropped_turns == view.noted_turns:
            return 0
        starts = [any(m.id == view.first_kept_id for m in turn) for turn in groups]
        return starts.index(True) if True in starts else len(groups)

    @staticmethod
    def _last_before(conversation: Conversation, rest: list[tuple[Message, ...]]) -> str:
        """Return the id of the message on the path before the turns that stay."""
        path = conversation.path()
        if not rest:
            return path[-1].id
        index = next(i for i, message in enumerate(path) if message.id == rest[0][0].id)
        return path[index - 1].id

    # Writing

    def _submit_part(self, writing: _Writing) -> None:
        writing.job = self._runner.submit_generate(
            lambda: self._prepare_part(writing), lambda event: self._on_part(writing, event)
        )

    def _prepare_part(self, writing: _Writing) -> GenerateRequest:
        """Compose the request for the next part. Runs on the engine thread."""
        from tui_chat.chat.note_prompts import most_tokens, next_part

        composer = self._current_composer()
        if composer is None:
            raise BusyError("The model is not loaded any more")
        writing.tokens = most_tokens(composer.context, composer.reserve)
        part = next_part(
            composer.template, composer.encoder, writing.turns, writing.before,
            composer.context, writing.tokens,
        )  # fmt: skip
        writing.part, writing.text, writing.written = part, [], 0
        writing.lead = composer.template.lead
        # Greedy whatever the user's preset: a summary should be as exact as the model can be.
        values = {"temperature": 0.0, "max_new_tokens": writing.tokens, "stop": ()}
        params = self.params.with_values(values)
        return GenerateRequest(
            ids=part.ids,
            params=lambda: params,
            seed=0,
            stop_ids=composer.template.stop_tokens(composer.encoder),
            context=composer.context,
        )

    def _on_part(self, writing: _Writing, event: EngineEvent) -> None:
        """Apply an engine event about a part. Runs on the engine thread."""
        with self._lock:
            shown = self._growing_note
            if self._writing is not writing or shown is None:
                return
            if isinstance(event, Prefill):
                self._state = "prefill"
            elif isinstance(event, Delta):
                self._state = "decoding"
                event = self._take(writing, event)
            elif isinstance(event, Finished | Failed):
                if self._state in ("prefill", "decoding"):
                    self._state = "ready"
                end = self._end_part(writing, event)
                if end is None:
                    return  # the next part is on its way
                event = end
        self._tell(EngineUpdate(shown.id, event))
        if isinstance(event, Finished | Failed):
            self._tell(TreeChanged())

    @staticmethod
    def _take(writing: _Writing, delta: Delta) -> Delta:
        """Add a delta to the text, and return it as shown, without the template's lead."""
        if writing.lead and delta.text:
            delta = replace(delta, text=delta.text.removeprefix(writing.lead))
            writing.lead = ""
        writing.text.append(delta.text)
        writing.written += len(delta.token_ids)
        return delta

    def _end_part(self, writing: _Writing, event: Finished | Failed) -> Finished | Failed | None:
        """Submit the next part, keep the finished note, or drop an unfinished one.

        Returns:
            The event that ends the note; None if another part follows.
        """
        text = "".join(writing.text).strip()
        # A job cancelled after its last token still ends with its normal reason.
        is_stopped = writing.job is not None and writing.job.is_cancelled
        if isinstance(event, Finished) and (event.reason == "cancelled" or is_stopped):
            event = Finished("cancelled", Stats())
        elif isinstance(event, Finished) and not text:
            event = Failed(
                "internal", "The model wrote no note", "", "Try another model",
                Remedy.CHOOSE_MODEL,
            )  # fmt: skip
        elif isinstance(event, Finished) and writing.part is not None:
            del writing.turns[: writing.part.turns]
            writing.before = text
            if writing.turns:
                try:
                    self._submit_part(writing)
                except BusyError:
                    event = Finished("cancelled", Stats())  # the program is quitting
                else:
                    return None
            else:
                self._keep(writing, text)
        self._writing = None
        self._grow(None)
        for reply in self._replies.values():
            if reply.job is None and self._backend.info is not None:
                self._submit(reply)  # it was waiting for the note
        return event

    def _keep(self, writing: _Writing, text: str) -> None:
        """Store the finished note as a mark on its message."""
        shown, conversation = self._growing_note, writing.conversation
        if shown is None or writing.message_id not in conversation:
            return
        note = Note(storable(text), now(), shown.model, shown.precision, writing.written)
        marks = conversation[writing.message_id].marks
        conversation.mark("Compact", {writing.message_id: replace(marks, note=note)})
        self._save(conversation, conversation[writing.message_id])
        self._save_header(conversation)

    def _show_growing(self, writing: _Writing, model: str, precision: str) -> None:
        note = Note("", now(), model, precision)
        self._grow(replace(as_message(note, writing.message_id), status="streaming"))

    def _grow(self, note: Message | None) -> None:
        """Show a newer state of the note being written; None removes it."""
        self._growing_note = note
        self._path = None

    # Editing a note

    def _kept_note(self, message_id: str) -> Note:
        """Return the finished note with that id.

        Raises:
            BusyError: If the engine is still writing.
            KeyError: If no note has that id.
        """
        message = self._note(message_id)
        if self.is_busy or message.note_on is None:
            raise BusyError("The engine is still writing", "", "Stop it first", Remedy.STOP_REPLY)
        note = self._conversation[message.note_on].marks.note
        assert note is not None
        return note

    def _mark_note(self, label: str, message_id: str, note: Note | None) -> None:
        marked = self._note(message_id).note_on or ""
        marks = self._conversation[marked].marks
        self.set_marks(label, {marked: replace(marks, note=note)})


def _nothing_to_sum_up(keep: int | None, turns: int, has_note: bool) -> ContextError:
    if keep is None:
        there = "a note stands for the others already" if has_note else "every turn is still sent"
        return ContextError(
            "There is nothing above the forget line", there, _KEEPS, Remedy.WRITE_NOTE
        )
    after = " after the note" if has_note else ""
    return ContextError(
        "There is nothing to sum up",
        f"There {'is 1 turn' if turns == 1 else f'are {turns} turns'}{after}, "
        f"and the newest {keep if keep > 1 else 'one'} would be kept",
        "Give a smaller number" if keep > 1 and turns > 1 else "",
    )
