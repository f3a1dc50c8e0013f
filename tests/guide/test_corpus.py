"""The corpus: every fact of the program is in it, and no held-out question."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tui_chat.actions import ACTIONS, SLASH_COMMANDS
from tui_chat.chat.params import BUILTIN_PRESETS, PARAM_SPECS
from tui_chat.guide import grammar, synonyms, topics
from tui_chat.guide.augment import spoken
from tui_chat.guide.dialogues import DialogueSource
from tui_chat.guide.evaluate import read_questions
from tui_chat.guide.facts import FactError, fill, plain, registry
from tui_chat.guide.topics import Corpus, digest, held_out_digests, normalised

HELD_OUT = Path(__file__).parent / "heldout.toml"
EXAM = Path(__file__).parent / "exam.toml"
PRECISIONS = ("fp32", "bf16", "fp16", "8bit", "4bit", "auto")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return topics.build(0)


@pytest.fixture(scope="module")
def answers(corpus: Corpus) -> str:
    return "\n".join(corpus.answers())


def test_every_key_is_taught(answers: str) -> None:
    keys = {key for action in ACTIONS for key in action.key_text.split(" / ") if key}
    assert [key for key in sorted(keys) if key not in answers] == []


def test_every_slash_command_is_taught(answers: str) -> None:
    assert [command for command in SLASH_COMMANDS if f"`{command}" not in answers] == []


def test_every_parameter_is_taught_with_its_range_and_default(answers: str) -> None:
    for spec in PARAM_SPECS:
        assert f"The range of {spec.name} is {plain(spec.range_text)}." in answers
        assert f"The default of {spec.name} is {plain(spec.format(spec.default))}" in answers
        assert f"/set {spec.name}=" in answers


def test_every_preset_precision_and_model_is_taught(answers: str) -> None:
    assert [name for name in BUILTIN_PRESETS if f"/preset {name}" not in answers] == []
    assert [name for name in PRECISIONS if name not in answers] == []
    assert [name for name in registry() if name not in answers] == []


def test_every_topic_has_several_wordings(corpus: Corpus) -> None:
    assert [topic.id for topic in corpus.topics if len(topic.wordings) < 12] == []


def test_answers_are_short_and_hold_no_open_placeholder_or_tag(corpus: Corpus) -> None:
    for answer in corpus.answers():
        assert "<|" not in answer
        assert "{" not in answer.replace("{}", "")
        assert len(answer) <= 420, answer


def test_no_held_out_question_is_a_wording(corpus: Corpus) -> None:
    held_out = {normalised(turn) for q in read_questions(HELD_OUT) for turn in q.turns[-1:]}
    assert {digest(text) for text in held_out} <= held_out_digests(), (
        "run `python -m tui_chat.guide.decontaminate` and train again"
    )
    assert held_out & {normalised(wording) for wording in corpus.wordings()} == set()


def test_no_held_out_question_comes_out_of_the_noise(corpus: Corpus) -> None:
    exams = (*read_questions(HELD_OUT), *read_questions(EXAM))
    held_out = {normalised(question.turns[-1]) for question in exams}
    source = DialogueSource(corpus, seed=5)
    asked = {normalised(t.text) for _ in range(4000) for t in source.exchange()}
    assert held_out & asked == set()


def test_the_corpus_and_its_dialogues_are_seeded(corpus: Corpus) -> None:
    assert topics.build(0) == corpus
    first, second = (DialogueSource(corpus, seed=3) for _ in range(2))
    assert [first.dialogue(2) for _ in range(20)] == [second.dialogue(2) for _ in range(20)]


def test_validation_uses_wordings_that_training_never_draws(corpus: Corpus) -> None:
    sides = [DialogueSource(corpus, 0, validation) for validation in (False, True)]
    big = max(corpus.topics, key=lambda topic: len(topic.wordings))
    train, held_out = (set(side.wordings_of(big.id)) for side in sides)
    assert held_out and train and not train & held_out


def test_a_stopped_reply_is_context_and_never_learned(corpus: Corpus) -> None:
    source = DialogueSource(corpus, seed=1)
    answers = set(corpus.answers())
    turns = [turn for _ in range(400) for turn in source.dialogue(2)]
    replies = [turn for turn in turns if turn.role == "assistant"]
    assert any(not turn.learned for turn in replies)
    assert all(turn.text in answers for turn in replies if turn.learned)


def test_the_wording_grammar() -> None:
    slots = {"reply": "reply|answer"}
    choice = grammar.parse("(stop|halt) [the] <reply>(s)?", slots)
    rng = random.Random(0)
    made = {grammar.tidy(choice.sample(rng)) for _ in range(400)}
    assert choice.count() == len(made) == 16
    assert {"stop the reply", "halt answers"} <= made


@pytest.mark.parametrize("line", ["(a|b", "a)b", "[a", "<nothing>"])
def test_a_broken_wording_is_an_error(line: str) -> None:
    with pytest.raises(grammar.GrammarError):
        grammar.parse(line, {})


@pytest.mark.parametrize(
    ("phrase", "third", "ing"),
    [
        ("stop it", "stops it", "stopping it"),
        ("copy text", "copies text", "copying text"),
        ("undo that", "undoes that", "undoing that"),
        ("retry", "retries", "retrying"),
        ("use it", "uses it", "using it"),
        ("get rid of it", "gets rid of it", "getting rid of it"),
    ],
)
def test_verb_forms(phrase: str, third: str, ing: str) -> None:
    assert grammar.third_person(phrase) == third
    assert grammar.gerund(phrase) == ing


def test_past_and_plural_forms() -> None:
    assert [grammar.past(verb) for verb in ("stop", "retry", "write it", "use")] == [
        "stopped", "retried", "wrote it", "used",
    ]  # fmt: skip
    assert [grammar.plural(noun) for noun in ("reply", "key", "switch")] == [
        "replies", "keys", "switches",
    ]  # fmt: skip


def test_synonyms_leave_names_alone() -> None:
    rng = random.Random(0)
    assert synonyms.exchanged("what does /stop do", rng, 1.0).count("/stop") == 1
    changed = {synonyms.exchanged("delete messages", rng, 1.0) for _ in range(50)}
    assert len(changed) > 10 and all("message" not in text for text in changed)


def test_facts_come_from_the_declarations() -> None:
    assert fill("{key regenerate} {slash regenerate} {range temperature}") == "Ctrl+R /retry 0 to 2"
    with pytest.raises(FactError):
        fill("{key nothing}")


def test_noise_keeps_the_words_recognisable() -> None:
    rng = random.Random(2)
    noisy = [spoken("how do i stop the reply", rng) for _ in range(300)]
    assert len(set(noisy)) > 50
    assert sum(text.lower().count("how") for text in noisy) > 250
