"""Scores a questions file against the built-in model: `python -m tui_chat.guide.evaluate`.

The model answers greedily. A reply counts when it names the right fact, ends with the end token
within 200 tokens, and holds no role token.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

WEIGHTS = Path(__file__).parent / "weights"
QUESTIONS = Path(__file__).parent / "questions.toml"
LONGEST_REPLY = 200
_BATCH = 32
_ROLE_TAGS = ("<|prompter|>", "<|assistant|>", "<|system|>", "<|prefix_begin|>", "<|prefix_end|>")


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what the reply must mention."""

    turns: tuple[str, ...]
    """User turns; the model's own replies go between them, and the last reply is scored."""
    expect: tuple[str, ...]
    """Texts of which at least one must occur, in any case."""
    also: tuple[str, ...] = ()
    """Texts that must all occur as well."""

    def is_answered_by(self, reply: str) -> bool:
        """Return whether the reply mentions the expected texts."""
        low = reply.lower()
        named = not self.expect or any(text.lower() in low for text in self.expect)
        return named and all(text.lower() in low for text in self.also)


@dataclass(frozen=True, slots=True)
class Reply:
    """A greedy reply and how it ended."""

    text: str
    tokens: int
    ended: bool
    """Whether the end token came within `LONGEST_REPLY` tokens."""
    role_tokens: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question with the model's last reply to it."""

    question: Question
    reply: Reply

    @property
    def right(self) -> bool:
        """Whether the reply mentions the expected texts."""
        return self.question.is_answered_by(self.reply.text)


def read_questions(path: Path) -> list[Question]:
    """Read a TOML file of `[[question]]` tables with `ask` or `turns`, `expect` and `also`."""
    tables = tomllib.loads(path.read_text("utf-8"))["question"]
    return [
        Question(
            tuple(table["turns"]) if "turns" in table else (table["ask"],),
            tuple(table.get("expect", ())),
            tuple(table.get("also", ())),
        )
        for table in tables
    ]


class Guide:
    """The built-in model, decoding greedily in batches."""

    def __init__(self, directory: Path = WEIGHTS, dtype: torch.dtype = torch.float32) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(directory)
        self._model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()
        self._end = self._tokenizer.eos_token_id
        ids = self._tokenizer.convert_tokens_to_ids(list(_ROLE_TAGS))
        self._prompter, self._assistant, *_ = ids
        self._roles = frozenset(ids)

    def prompt(self, turns: Sequence[tuple[str, str]], question: str) -> list[int]:
        """Return the prompt ids for a question after some finished exchanges."""
        ids: list[int] = []
        for asked, replied in turns:
            ids += [self._prompter, *self._encoded(asked), self._end]
            ids += [self._assistant, *self._encoded(replied), self._end]
        return [*ids, self._prompter, *self._encoded(question), self._end, self._assistant]

    def _encoded(self, text: str) -> list[int]:
        return list(
            self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        )

    def replies(self, prompts: Sequence[list[int]]) -> list[Reply]:
        """Return greedy replies in the order of the prompts, batched by similar length."""
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        replies: dict[int, Reply] = {}
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            outputs = self._generate([prompts[i] for i in chosen])
            for index, ids in zip(chosen, outputs, strict=True):
                replies[index] = self._reply(ids)
        return [replies[index] for index in range(len(prompts))]

    @torch.no_grad()
    def _generate(self, prompts: list[list[int]]) -> list[list[int]]:
        longest = max(len(ids) for ids in prompts)
        padding = self._tokenizer.pad_token_id
        rows = [[padding] * (longest - len(ids)) + ids for ids in prompts]
        mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
        output = self._model.generate(
            torch.tensor(rows),
            attention_mask=torch.tensor(mask),
            max_new_tokens=LONGEST_REPLY,
            do_sample=False,
            pad_token_id=padding,
        )
        return [[int(token) for token in row] for row in output[:, longest:]]

    def _reply(self, ids: list[int]) -> Reply:
        ended = self._end in ids
        kept = ids[: ids.index(self._end)] if ended else ids
        text = self._tokenizer.decode(kept, skip_special_tokens=True)
        return Reply(text, len(kept), ended, sum(token in self._roles for token in kept))


def answer(guide: Guide, questions: Sequence[Question]) -> list[Outcome]:
    """Ask every question; the prompt of a follow-up contains the model's own earlier replies."""
    chats: list[list[tuple[str, str]]] = [[] for _ in questions]
    last: dict[int, Reply] = {}
    for depth in range(max((len(question.turns) for question in questions), default=0)):
        asked = [i for i, question in enumerate(questions) if len(question.turns) > depth]
        prompts = [guide.prompt(chats[i], questions[i].turns[depth]) for i in asked]
        for index, reply in zip(asked, guide.replies(prompts), strict=True):
            chats[index].append((questions[index].turns[depth], reply.text))
            last[index] = reply
    return [Outcome(question, last[i]) for i, question in enumerate(questions)]


def report(outcomes: Sequence[Outcome]) -> str:
    """Return every failing question with its reply, and the totals."""
    lines: list[str] = []
    for outcome in (o for o in outcomes if not o.right):
        lines.append(f"- {' / '.join(outcome.question.turns)}")
        wanted = (*outcome.question.expect, *outcome.question.also)
        lines.append(f"  expected: {' | '.join(wanted)}")
        lines.append(f"  reply:    {outcome.reply.text}")
    right = sum(outcome.right for outcome in outcomes)
    endless = sum(not outcome.reply.ended for outcome in outcomes)
    roles = sum(outcome.reply.role_tokens > 0 for outcome in outcomes)
    share = 100 * right / max(1, len(outcomes))
    lines.append(
        f"{right} of {len(outcomes)} right ({share:.1f} %), "
        f"{endless} without an end token, {roles} with a role token"
    )
    return "\n".join(lines)


def main() -> None:
    """Read the command line, score the questions and print the result."""
    parser = argparse.ArgumentParser(prog="python -m tui_chat.guide.evaluate", description=__doc__)
    parser.add_argument("--questions", type=Path, default=QUESTIONS, help="a TOML file")
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    given = parser.parse_args()
    torch.set_num_threads(2)
    outcomes = answer(
        Guide(given.model, getattr(torch, given.dtype)), read_questions(given.questions)
    )
    if given.json:
        print(json.dumps([asdict(o) | {"right": o.right} for o in outcomes]))
    else:
        print(report(outcomes))


if __name__ == "__main__":
    main()
