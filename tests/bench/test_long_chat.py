"""The chat of `bench --chat`: real prompts, real reuse, and what it is compared with."""

from __future__ import annotations

from dataclasses import asdict
from threading import Event

import pytest

from tui_chat.bench import BenchOptions, BenchRun, measure, report
from tui_chat.bench.long_chat import FRESH_EVERY, LATE_FROM, QUESTION_TOKENS, question
from tui_chat.chat.events import EngineEvent, Finished
from tui_chat.engine.contract.backend import Emit, GenerateRequest, LoadRequest
from tui_chat.engine.contract.scripted import Script, ScriptedBackend, WordEncoder, _common_prefix
from tui_chat.engine.local import LocalBackend
from tui_chat.engine.machine import bandwidth
from tui_chat.errors import TuiChatError, UsageError


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine can do is not measured."""
    monkeypatch.setattr(bandwidth, "read_bandwidth", lambda device: 1e9)
    monkeypatch.setattr(bandwidth, "peak_bytes", lambda device: 10**9)


def options(turns: int, context: int | None = 600, rounds: int = 2) -> BenchOptions:
    """A chat of so many turns, in a model that holds 600 tokens."""
    return BenchOptions(
        LoadRequest("guide"), context, new_tokens=8, rounds=rounds, chat_turns=turns
    )


def chat(turns: int, context: int | None = 600) -> tuple[BenchRun, ScriptedBackend]:
    """The same with a scripted model."""
    backend = ScriptedBackend(Script(replies=["word " * 4000], context=600, reserve=100))
    (run,) = measure(backend, options(turns, context))
    return run, backend


def test_a_turn_computes_its_new_tokens_only():
    run, _ = chat(5)
    assert len(run.turns) == 5
    assert all(t.new_tokens + t.reused_tokens == t.prompt_tokens for t in run.turns)
    assert run.turns[0].reused_tokens == 0
    for before, turn in zip(run.turns, run.turns[1:], strict=False):
        assert before.prompt_tokens < turn.reused_tokens < turn.prompt_tokens
        assert turn.new_tokens < 50


def test_measuring_beside_it_leaves_the_cache_as_it_was():
    """Also after turns that were prefilled from nothing, only a trim makes the next one compute."""
    run, _ = chat(LATE_FROM + FRESH_EVERY + 1)
    for before, turn in zip(run.turns, run.turns[1:], strict=False):
        is_trimmed = turn.prompt_tokens < before.prompt_tokens
        assert (turn.new_tokens > 50) == is_trimmed
        assert is_trimmed or turn.reused_tokens >= before.prompt_tokens + 39


def test_a_compared_turn_is_never_made_easier_by_its_own_cache():
    """Also where the engine keeps the KV caches of all prompts, as of branches."""

    class KeepsAll(ScriptedBackend):
        kept: list[tuple[int, ...]] = []
        costs: list[tuple[int, int]] = []

        def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
            def tell(event: EngineEvent) -> None:
                emit(event)
                if isinstance(event, Finished):
                    self.costs.append((event.stats.prompt_tokens, event.stats.reused_tokens))

            self._cached = max(
                self.kept, key=lambda ids: _common_prefix(ids, request.ids), default=()
            )
            super().generate(request, tell, cancel)
            self.kept.append(self._cached)

    backend = KeepsAll(Script(replies=["word " * 4000], context=600, reserve=100))
    (run,) = measure(backend, options(4, rounds=4))
    last = run.turns[-1]
    costs = [reused for prompt, reused in backend.costs if prompt == last.prompt_tokens]
    assert sorted(costs) == [0] * 4 + [last.reused_tokens] * 4


def test_past_the_window_the_oldest_turns_are_trimmed():
    run, _ = chat(LATE_FROM + FRESH_EVERY)
    assert max(turn.prompt_tokens for turn in run.turns) <= 500
    assert run.chat is not None
    trimmed = [n for n, turn in enumerate(run.turns, 1) if n > 1 and turn.reused_tokens < 5]
    assert run.chat.trims == sum(n >= LATE_FROM for n in trimmed) > 0
    assert run.chat.late_from == LATE_FROM
    assert [read.turn for read in run.chat.fresh_reads] == [20, LATE_FROM, LATE_FROM + FRESH_EVERY]
    for read in run.chat.fresh_reads:
        assert read.prompt_tokens == run.turns[read.turn - 1].prompt_tokens


def test_a_short_chat_compares_its_last_turn_and_one_turn_nothing():
    run, _ = chat(3)
    assert run.chat is not None and run.chat.compared_turn == 3 and run.chat.late_from is None
    assert chat(1)[0].chat is None


def test_without_a_context_it_is_the_models():
    run, backend = chat(2, context=None)
    assert run.context == 600
    assert {request.context for request in backend.requests} == {600}


def test_the_record_has_the_documented_fields():
    run, _ = chat(2)
    record = run.record()
    assert [set(turn) for turn in record["turns"]] == [
        {"prompt_tokens", "new_tokens", "reused_tokens", "ttft_s"}
    ] * 2
    assert list(record["turns"]) == [asdict(turn) for turn in run.turns]


def test_the_table_says_it_in_words(capsys: pytest.CaptureFixture[str]):
    run, _ = chat(LATE_FROM)
    report([run], as_json=False)
    out = capsys.readouterr().out
    assert "turn 20 " in out and "of prefilling it all" in out
    assert f"turns {LATE_FROM} to {LATE_FROM}" in out and "the worst of them" in out


def test_questions_have_about_thirty_tokens_and_differ():
    encoder = WordEncoder()
    questions = [question(encoder, number) for number in range(1, 201)]
    assert len(set(questions)) == 200
    assert {len(encoder.encode(text)) for text in questions} == {QUESTION_TOKENS}


def test_a_window_without_room_for_two_turns_is_refused_with_the_numbers():
    with pytest.raises(UsageError, match=r"context of 120 tokens: Two turns have 107, and 90 fit"):
        chat(5, context=120)


def test_a_prompt_from_nothing_that_was_reused_is_no_figure():
    class Remembers(ScriptedBackend):
        def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
            self._cached = request.ids
            super().generate(request, emit, cancel)

    backend = Remembers(Script(replies=["word " * 4000]))
    with pytest.raises(TuiChatError, match="of a new prompt were in the KV cache"):
        measure(backend, options(0))


def test_a_real_model_reuses_all_but_the_new_tokens():
    (run,) = measure(LocalBackend(), options(3, context=400, rounds=1))
    assert [turn.reused_tokens > 0 for turn in run.turns] == [False, True, True]
    assert all(turn.new_tokens <= QUESTION_TOKENS + 10 for turn in run.turns)
    assert all(turn.ttft_s > 0 for turn in run.turns)
