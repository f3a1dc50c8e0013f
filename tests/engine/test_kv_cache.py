"""The cache never changes what is said: with and without reuse the reply is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from transformers import AutoModelForCausalLM, AutoTokenizer, MistralConfig, MistralForCausalLM

from tui_chat.chat.events import Delta, EngineEvent, Finished, Prefill
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.contract.backend import GenerateRequest
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.generation import ReplyWriter
from tui_chat.engine.replies.kv_cache import PrefixCache
from tui_chat.engine.text.tokenizer import HFEncoder

GREEDY = NEUTRAL.with_values({"temperature": 0, "max_new_tokens": 6})


class Models:
    """What the state machine below works on; filled once per module."""

    model: Any
    encoder: HFEncoder


@pytest.fixture(scope="module", autouse=True)
def models(make_model_dir: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> None:
    # Wider weights than usual, so that the greatest logit stands clear of rounding.
    path = make_model_dir(tmp_path_factory.mktemp("wide"), initializer_range=0.2)
    Models.model = AutoModelForCausalLM.from_pretrained(path)
    Models.encoder = HFEncoder(AutoTokenizer.from_pretrained(path))


def reply(
    writer: ReplyWriter,
    ids: tuple[int, ...],
    params: SamplingParams = GREEDY,
    cancel_after: int | None = None,
) -> tuple[tuple[int, ...], Finished, int]:
    """Write one reply; its tokens, its end, and how many prompt tokens were reused."""
    events: list[EngineEvent] = []
    cancel = Event()

    def emit(event: EngineEvent) -> None:
        events.append(event)
        if cancel_after is not None and len(events) > cancel_after:
            cancel.set()

    writer.write(GenerateRequest(ids, lambda: params, 1, (0,), 2048), emit, cancel)
    end = events[-1]
    assert isinstance(end, Finished), end
    tokens = tuple(i for event in events if isinstance(event, Delta) for i in event.token_ids)
    return tokens, end, next(event for event in events if isinstance(event, Prefill)).reused


token_ids = st.lists(st.integers(2, 339), min_size=1, max_size=30).map(tuple)


class Edits(RuleBasedStateMachine):
    """A chat that is continued, edited, retried and trimmed at random."""

    @initialize(ids=token_ids)
    def begin(self, ids: tuple[int, ...]) -> None:
        self.writer = ReplyWriter(Models.model, Models.encoder, chunk=8)
        self.turns: list[tuple[int, ...]] = [ids]

    @property
    def prompt(self) -> tuple[int, ...]:
        return tuple(i for turn in self.turns for i in turn)

    @rule(asked=token_ids)
    def goes_on(self, asked: tuple[int, ...]) -> None:
        tokens = self.answers_as_without_a_cache()
        self.turns += [tokens, asked]

    @rule()
    def is_asked_again(self) -> None:
        self.answers_as_without_a_cache()

    @rule(where=st.integers(0, 10), ids=token_ids)
    def is_edited(self, where: int, ids: tuple[int, ...]) -> None:
        self.turns = [*self.turns[: where % len(self.turns)], ids]

    @rule()
    def loses_its_oldest_turn(self) -> None:
        self.turns = self.turns[1:] or self.turns

    @rule(after=st.integers(0, 12))
    def is_cancelled(self, after: int) -> None:
        reply(self.writer, self.prompt, cancel_after=after)

    @rule(seed=st.integers(0, 5))
    def is_sampled(self, seed: int) -> None:
        reply(self.writer, self.prompt, NEUTRAL.with_values({"max_new_tokens": 3 + seed}))

    def answers_as_without_a_cache(self) -> tuple[int, ...]:
        tokens, _, _ = reply(self.writer, self.prompt)
        alone, _, reused = reply(ReplyWriter(Models.model, Models.encoder), self.prompt)
        assert reused == 0
        assert tokens == alone
        return tokens


TestEdits = Edits.TestCase
TestEdits.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_the_second_turn_computes_its_own_tokens_only() -> None:
    writer = ReplyWriter(Models.model, Models.encoder)
    first = tuple(range(2, 102))
    tokens, _, _ = reply(writer, first)
    second = (*first, *tokens, 0, 60, 61, 62)
    _, end, reused = reply(writer, second)

    # The last token of a reply cut by its length was chosen, but never computed.
    assert reused == len(first) + len(tokens) - 1
    assert end.stats.reused_tokens == reused


def test_one_token_is_always_left_to_compute() -> None:
    writer = ReplyWriter(Models.model, Models.encoder)
    ids = tuple(range(2, 50))
    first, _, _ = reply(writer, ids)
    again, _, reused = reply(writer, ids)

    assert (again, reused) == (first, len(ids) - 1)


def test_a_reply_in_two_parts_is_the_reply_in_one() -> None:
    """Splitting n tokens into a + b changes nothing, with the cache in between."""
    writer = ReplyWriter(Models.model, Models.encoder)
    ids = tuple(range(30, 70))
    whole, _, _ = reply(writer, ids, GREEDY.with_values({"max_new_tokens": 12}))
    head, _, _ = reply(writer, ids, GREEDY.with_values({"max_new_tokens": 5}))
    tail, _, _ = reply(writer, (*ids, *head), GREEDY.with_values({"max_new_tokens": 7}))

    assert head + tail == whole


def test_a_cancelled_prefill_keeps_its_whole_chunks() -> None:
    writer = ReplyWriter(Models.model, Models.encoder, chunk=16)
    ids = tuple(i % 300 + 2 for i in range(200))
    _, end, _ = reply(writer, ids, cancel_after=3)  # within the fourth chunk
    tokens, _, reused = reply(writer, ids)
    alone, _, _ = reply(ReplyWriter(Models.model, Models.encoder), ids)

    assert end.reason == "cancelled"
    assert reused == 48
    assert tokens == alone


@pytest.fixture(scope="module")
def sliding_model() -> Any:
    torch.manual_seed(3)
    config = MistralConfig(
        vocab_size=352, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, sliding_window=12, initializer_range=0.3,
        eos_token_id=0, bos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    return MistralForCausalLM(config).eval()


def test_a_cache_that_cannot_be_cut_is_used_only_where_the_prompt_goes_on(
    sliding_model: Any,
) -> None:
    writer = ReplyWriter(sliding_model, Models.encoder)
    ids = tuple(range(2, 42))
    first, _, _ = reply(writer, ids)
    longer = (*ids, *first, 50, 51)
    continued, _, reused = reply(writer, longer)
    edited, _, reused_after_edit = reply(writer, (*ids[:30], 77, 78))

    assert reused == len(ids) + len(first) - 1
    assert continued == reply(ReplyWriter(sliding_model, Models.encoder), longer)[0]
    assert reused_after_edit == 0
    assert edited == reply(ReplyWriter(sliding_model, Models.encoder), (*ids[:30], 77, 78))[0]


@pytest.mark.parametrize("after", range(6))
def test_a_cache_that_cannot_be_cut_survives_cancelling(sliding_model: Any, after: int) -> None:
    writer = ReplyWriter(sliding_model, Models.encoder, chunk=8)
    ids = tuple(range(2, 42))
    reply(writer, ids, cancel_after=after)

    assert reply(writer, ids)[0] == reply(ReplyWriter(sliding_model, Models.encoder), ids)[0]


def test_a_cache_in_use_holds_nothing_until_it_is_given_back() -> None:
    cache = PrefixCache(Models.model.config)
    held, _ = cache.take((1, 2, 3))
    with torch.inference_mode():
        forward(Models.model, torch.tensor([[1, 2]]), held)
    cache.keep(held, (1, 2))
    assert cache.ids == (1, 2)
    cache.take((1, 2, 3))
    assert cache.ids == ()
