"""The model card stored with the weights: what the model is and how it was trained."""

from __future__ import annotations

from pathlib import Path

_CARD = """# guide

The model that is built into tui-chat: a GPT-NeoX with {parameters:.2f} million parameters, 2048
positions and its own byte-level BPE. It knows this program and nothing else, and says so.

| | |
|---|---|
| steps | {steps}{before} |
| training loss | {train:.4f} |
| held-out loss | {held_out:.4f} (wordings that training never saw) |
| training time | {minutes:.0f} minutes on two CPU cores |

- Data: `tui_chat/guide/corpus/*.toml`, written for this project, with keys, commands,
  parameters, presets and models filled in from the program's own declarations.
- Format: `<|prompter|>text<|endoftext|><|assistant|>text<|endoftext|>`, a system message first.
- Make it again: `python -m tui_chat.guide.train`
- Score it: `python -m tui_chat.guide.evaluate --questions tests/guide/heldout.toml`
- Limits: English only, short answers, no knowledge of the world; it can be wrong.
"""


def text(
    parameters: int, steps: int, train: float, held_out: float, minutes: float, before: str = ""
) -> str:
    """Return the card of a training run.

    Args:
        parameters: Number of weights.
        steps: Optimiser steps taken.
        train: Mean training loss of the last steps, in nats per token.
        held_out: Loss on the validation dialogues, in nats per token.
        minutes: Wall-clock time of the run.
        before: The steps on the card of the model that the run started from; empty if it started
            from scratch.
    """
    return _CARD.format(
        parameters=parameters / 1e6,
        steps=steps,
        train=train,
        held_out=held_out,
        minutes=minutes,
        before=f", after {before} before the corpus grew" if before else "",
    )


def steps_of(directory: Path) -> str:
    """Return the steps on the card of a trained model.

    Raises:
        OSError: If it has no card.
    """
    card = (directory / "MODEL_CARD.md").read_text("utf-8")
    return next(line.split("|")[2].strip() for line in card.splitlines() if "| steps |" in line)
