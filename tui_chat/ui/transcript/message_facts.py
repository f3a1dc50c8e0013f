"""Facts about one message as pairs of name and value, worded for the user."""

from __future__ import annotations

from tui_chat.chat.conversation import Message
from tui_chat.chat.params import SPECS

_STATUS = {
    "complete": "complete",
    "waiting": "waiting for the model",
    "streaming": "being written",
    "stopped": "stopped by you",
    "interrupted": "interrupted when the program ended",
    "failed": "failed",
}
_REASONS = {"length": "ended by the length limit", "stop": "ended by a stop string"}


def message_facts(message: Message) -> list[tuple[str, str]]:
    """Return the known facts about a message as (name, value), in display order."""
    local = message.created.astimezone()
    status = _REASONS.get(message.finish_reason, _STATUS[message.status])
    facts = [("written", f"{local.day} {local:%b %Y %H:%M}")]
    if message.role == "user":
        return facts
    facts.append(("state", message.error or status))
    if message.model:
        model = f"{message.model} · {message.precision}" if message.precision else message.model
        facts.append(("model", model))
    facts += _cost(message)
    if message.seed is not None:
        facts.append(("seed", str(message.seed)))
    changed = [
        f"{SPECS[name].label or name} {SPECS[name].display(value)}"
        for name, value in message.params.items()
        if name in SPECS and name not in ("seed", "stop") and value != SPECS[name].off
    ]
    if changed:
        facts.append(("parameters", ", ".join(changed)))
    return facts


def _cost(message: Message) -> list[tuple[str, str]]:
    """Return the tokens and times of a reply."""
    stats = {k: v for k, v in message.stats.items() if isinstance(v, int | float)}
    count = int(stats.get("completion_tokens", len(message.token_ids)))
    facts = []
    if count:
        speed = stats.get("decode_tokens_per_s", 0.0)
        facts.append(("tokens", f"{count}" + (f" at {speed:.0f} a second" if speed else "")))
    if stats.get("prompt_tokens"):
        reused = int(stats.get("reused_tokens", 0))
        prompt = f"{int(stats['prompt_tokens'])}" + (f", {reused} reused" if reused else "")
        facts.append(("prompt tokens", prompt))
    if stats.get("ttft_s"):
        facts.append(("first token", f"after {stats['ttft_s']:.2f} s"))
    return facts
