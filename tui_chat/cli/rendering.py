"""The command `render`: the prompt, token by token, without loading any weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_chat.cli import options as opt
from tui_chat.cli.file_problems import one_for_each_file
from tui_chat.cli.output import complain, print_json, print_table
from tui_chat.cli.typed import Typed
from tui_chat.errors import UsageError
from tui_chat.safe_text import safe_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_chat.chat.conversation import Conversation
    from tui_chat.chat.prompt import Prompt, PromptComposer
    from tui_chat.chat.templates import Segment

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A segment and its message."""

    segment: Segment
    message_index: int | None
    """Index among the given messages, or in the path of the chat; None for segments without a
    message: the opening of the reply, and a system message from the settings.
    """
    kept: bool
    """Whether the segment is sent."""


def render(
    chat_id: Annotated[
        str | None,
        typer.Option("--chat", "--resume", metavar="ID|last", help="A saved chat."),
    ] = None,
    messages: Annotated[
        list[str] | None,
        typer.Option(
            "--message", metavar="ROLE:TEXT", help="system, user or assistant; can be repeated."
        ),
    ] = None,
    as_json: opt.Json = False,
    model: opt.Model = None,
    precision: opt.Precision = None,
    device: opt.Device = None,
    template: opt.Template = None,
    context: opt.Context = None,
    reserve: opt.Reserve = None,
    preset: opt.PresetName = None,
    assignments: opt.Set = None,
    system: opt.System = None,
    seed: opt.Seed = None,
) -> int:
    """Print what would be sent: ids, tokens, roles, and what is left out.

    Takes the options of `ask`, so that the same line can be looked at first. Precision, device
    and parameters are checked; they change nothing of what is sent.
    """
    if (chat_id is None) == (messages is None):
        raise UsageError("There is nothing to render", "", "Give either --chat or --message")
    typed = Typed(
        model, precision, device, template, context, reserve, preset, assignments, system, seed
    )
    from tui_chat import logs

    logs.configure()
    loaded = typed.load_settings()
    from tui_chat.cli.opening import load_chat, session_settings, usable_settings
    from tui_chat.cli.reply_length import within_context
    from tui_chat.engine.files.registry import load_registry
    from tui_chat.engine.loading.prompt_only import read_composer

    registry = load_registry()
    saved = load_chat(chat_id) if chat_id is not None else None
    loaded, problems = usable_settings(loaded, registry, saved)
    for line in one_for_each_file(problems):
        complain(line)
    conversation, offset = (saved, 0) if saved is not None else _conversation(messages or [])
    is_typed = loaded.sources.get("system") == "flag"
    if is_typed if saved is not None else offset == 0:
        conversation.system = loaded.settings.system
    composer = read_composer(session_settings(loaded, registry, saved).load, registry)
    within_context(loaded, registry.presets.get(loaded.settings.preset or ""), composer.context)
    prompt, segments = _rendered(composer, conversation, offset, saved is not None)
    if as_json:
        print_json(_record(composer, prompt, segments))
    else:
        _print_segments(composer, prompt, segments)
    return 0


def _conversation(messages: Sequence[str]) -> tuple[Conversation, int]:
    """Return the chat made of the messages on the command line, and how many precede its path.

    Raises:
        UsageError: If one has no role, or a system message is not the first.
    """
    from tui_chat.chat.conversation import Conversation
    from tui_chat.safe_text import storable

    conversation = Conversation()
    offset = 0
    for index, message in enumerate(messages):
        role, separator, text = message.partition(":")
        role = role.strip().lower()
        if not separator or role not in _ROLES:
            raise UsageError(
                f"{safe_line(message, 60)!r} has no role", "",
                "Write system:TEXT, user:TEXT or assistant:TEXT",
            )  # fmt: skip
        if role != "system":
            conversation.append("user" if role == "user" else "assistant", storable(text))
        elif index == 0:
            conversation.system, offset = storable(text), 1
        else:
            raise UsageError("Only the first message can be the system message")
    return conversation, offset


def _rendered(
    composer: PromptComposer, conversation: Conversation, offset: int, is_saved: bool
) -> tuple[Prompt, list[_Rendered]]:
    """Return the prompt, and its segments with the dropped ones, in the order of the chat.

    In a saved chat, unanswered messages are left out; typed messages are taken as given.
    """
    from tui_chat.chat.notes import with_note
    from tui_chat.session.reply import sendable

    path = conversation.path()
    messages = sendable(with_note(path)) if is_saved else path
    prompt = composer.compose(messages, conversation.system)
    places = {message.id: index + offset for index, message in enumerate(path)}
    dropped = [
        _Rendered(segment, places.get(segment.message_id or ""), False)
        for segment in composer.template.render(prompt.dropped, composer.encoder)
        if segment.message_id is not None
    ] if prompt.dropped else []  # fmt: skip
    rendered = [_Rendered(s, _index(s, places, offset), True) for s in prompt.segments]
    first = next(
        (i for i, r in enumerate(rendered) if r.segment.message_id in places), len(rendered)
    )
    return prompt, rendered[:first] + dropped + rendered[first:]


def _index(segment: Segment, places: dict[str, int], offset: int) -> int | None:
    """Return the index of a segment's message; that of a typed system message is 0."""
    if segment.message_id in places:
        return places[segment.message_id or ""]
    is_given = segment.role == "system" and segment.message_id is not None and offset == 1
    return 0 if is_given else None


def _record(
    composer: PromptComposer, prompt: Prompt, segments: Sequence[_Rendered]
) -> dict[str, Any]:
    return {
        "context": composer.context,
        "reserve": composer.reserve,
        "prompt_tokens": len(prompt.ids),
        "dropped_turns": prompt.dropped_turns,
        "segments": [
            {
                "role": item.segment.role,
                "message_index": item.message_index,
                "ids": list(item.segment.ids),
                "kept": item.kept,
            }
            for item in segments
        ],
        "ids": list(prompt.ids),
    }


def _print_segments(
    composer: PromptComposer, prompt: Prompt, segments: Sequence[_Rendered]
) -> None:
    """Print a table with one row per token."""
    rows = [
        (
            _role(prompt, item) if place == 0 else "",
            "" if item.message_index is None or place else str(item.message_index),
            "sent" if item.kept else "left out",
            str(token_id),
            repr(composer.encoder.token_text(token_id)),
        )
        for item in segments
        for place, token_id in enumerate(item.segment.ids)
    ]
    print_table(("ROLE", "MESSAGE", "", "ID", "TOKEN"), rows)
    print(
        f"\n{len(prompt.ids)} of {composer.context} tokens are sent, {composer.reserve} are kept "
        f"for the reply, {prompt.dropped_turns} turns are left out"
        + f", and a note stands for {prompt.noted_turns} of them" * prompt.has_note
        + "."
    )


def _role(prompt: Prompt, item: _Rendered) -> str:
    """Return the role of a segment; the system message is labelled if it contains a note."""
    is_noted = prompt.has_note and item.segment.message_id is not None
    return "system, note" if is_noted and item.segment.role == "system" else item.segment.role
