"""The fields of the label form, their answers, and the conversion of answers to marks.

The labels are those of Open Assistant. A field without an answer is left out of the marks, since
an empty field is not a judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tui_chat.chat.conversation import Message
from tui_chat.chat.marks import LABELS, OF_REPLIES, REPORT_TYPES, SCALE, Marks, Report

FieldKind = Literal["yes_no", "scale", "report", "reason"]


@dataclass(frozen=True, slots=True)
class LabelField:
    """One field of the form."""

    name: str
    """The name of the label, or `report` or `reason` for the two fields that are not labels."""
    kind: FieldKind
    title: str
    help: str

    @property
    def options(self) -> tuple[str, ...]:
        """The options, from the lowest value to the highest; none for the reason."""
        return _OPTIONS[self.kind]


_OPTIONS: dict[FieldKind, tuple[str, ...]] = {
    "yes_no": ("no", "yes"),
    "scale": tuple(str(step) for step in range(1, len(SCALE) + 1)),
    "report": REPORT_TYPES,
    "reason": (),
}
_WORDS = {
    "spam": ("spam", "Is it advertising, gibberish or otherwise not meant?"),
    "fails_task": ("fails the task", "Does it fail to do what was asked, even in part?"),
    "lang_mismatch": ("wrong language", "Is it in another language than it should be?"),
    "pii": ("personal data", "Does it hold data by which a person can be known?"),
    "not_appropriate": ("inappropriate", "Would it be out of place in front of customers?"),
    "hate_speech": ("hate speech", "Does it attack people for what they are?"),
    "sexual_content": ("sexual content", "Does it hold sexual content?"),
    "moral_judgement": ("moral judgement", "Does it judge what is right and wrong?"),
    "political_content": ("political", "Does it take a side in politics?"),
    "quality": ("quality", "1 is poor, 5 is excellent."),
    "toxicity": ("toxicity", "1 is polite, 5 is rude."),
    "humor": ("humour", "1 is serious, 5 is funny."),
    "helpfulness": ("helpfulness", "1 is of no help, 5 helps a lot."),
    "creativity": ("creativity", "1 is ordinary, 5 is creative."),
    "violence": ("violence", "1 is harmless, 5 is violent."),
}
REPORT = LabelField("report", "report", "report", "Reports the message to whoever gets the data.")
REASON = LabelField("reason", "reason", "reason", "What is wrong with it, in your words.")


def fields_for(message: Message) -> tuple[LabelField, ...]:
    """Return the fields that apply to a message, in the order of the form."""
    labels = (
        LabelField(name, "scale" if kind == "scale" else "yes_no", *_WORDS[name])
        for name, kind in LABELS.items()
        if message.role == "assistant" or name not in OF_REPLIES
    )
    return (*labels, REPORT, REASON)


@dataclass(frozen=True, slots=True)
class Answers:
    """A person's answers about one message."""

    labels: Mapping[str, float] = field(default_factory=dict)
    """Values from 0 to 1 by label; labels without an answer are missing."""
    report: str = ""
    """One of `REPORT_TYPES`; empty for no report."""
    reason: str = ""
    """The reason of the report, in the person's words."""

    @classmethod
    def of(cls, marks: Marks) -> Answers:
        """Return the answers that the marks of a message hold."""
        own = _own_report(marks)
        report = marks.reports[own] if own is not None else Report("")
        return cls(dict(marks.labels), report.kind, report.reason)

    def applied_to(self, marks: Marks) -> Marks:
        """Return marks with these answers; reports that the form does not show stay."""
        reports, own = list(marks.reports), _own_report(marks)
        if own is not None:
            reports[own : own + 1] = [Report(self.report, self.reason)] if self.report else []
        elif self.report:
            reports.append(Report(self.report, self.reason))
        return replace(marks, labels=dict(self.labels), reports=tuple(reports))

    def chosen(self, asked: LabelField) -> int | None:
        """Return the index of the chosen option of a field; None if there is no answer.

        A value between two options, such as an average over several people, counts as the nearest.
        """
        if asked.kind == "report":
            return REPORT_TYPES.index(self.report) if self.report else None
        value = self.labels.get(asked.name)
        if value is None or asked.kind == "reason":
            return None
        last = len(asked.options) - 1
        return min(last, int(value * last + 0.5))

    def with_chosen(self, asked: LabelField, index: int | None) -> Answers:
        """Return these answers with an option of a field chosen.

        Args:
            asked: The field. For the reason, any index clears it.
            index: Index of the option; None to remove the answer.
        """
        if asked.kind == "reason":
            return replace(self, reason="")
        if asked.kind == "report":
            report = REPORT_TYPES[index] if index is not None else ""
            return replace(self, report=report, reason=self.reason if report else "")
        labels = {name: value for name, value in self.labels.items() if name != asked.name}
        if index is not None:
            labels[asked.name] = index / (len(asked.options) - 1)
        return replace(self, labels=labels)

    def with_reason(self, reason: str) -> Answers:
        """Return these answers with a reason; without a report, a reason makes it `feedback`."""
        report = self.report or ("feedback" if reason else "")
        return replace(self, report=report, reason=reason)


def _own_report(marks: Marks) -> int | None:
    """Return the index of the report that the form shows: the last one of `REPORT_TYPES`."""
    own = [i for i, report in enumerate(marks.reports) if report.kind in REPORT_TYPES]
    return own[-1] if own else None
