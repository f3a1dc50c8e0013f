"""The form of the step that a CUDA graph repeats: right at every position and capacity."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.kv_buffers import new_cache
from tui_chat.engine.turbo.artefact import SIGNATURE, recipe_for
from tui_chat.engine.turbo.build import compile_step
from tui_chat.engine.turbo.checked_step import disagreement
from tui_chat.engine.turbo.graphed_step import GraphedStep
from tui_chat.engine.turbo.step import FORMS, step_model, weights_of

PROMPT = (3, 5, 8, 13, 21)


def neox() -> Any:
    torch.manual_seed(2)
    config = GPTNeoXConfig(
        vocab_size=352, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128, max_position_embeddings=2048, initializer_range=0.2,
    )  # fmt: skip
    return GPTNeoXForCausalLM(config).eval()


def llama() -> Any:
    """Grouped heads, and an output that is the embedding."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=352, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=128, max_position_embeddings=2048,
        tie_word_embeddings=True, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def read(model: Any, *ids: int) -> Any:
    """A cache with a text."""
    cache = new_cache(model.config)
    forward(model, torch.tensor([ids]), cache)
    return cache


def next_logits(model: Any, token: int, cache: Any) -> Tensor:
    output = forward(model, torch.tensor([[token]]), cache)
    logits: Tensor = output.logits[0, -1]
    return logits


def poison(cache: Any) -> None:
    """What lies behind the tokens may be anything."""
    for layer in cache.layers:
        for buffer in (layer.key_buffer, layer.value_buffer):
            buffer[:, layer.length :] = torch.nan


@pytest.mark.parametrize("make", [neox, llama])
def test_what_lies_behind_the_position_does_not_matter(make: Callable[[], Any]) -> None:
    """As written, before any compiler sees it."""
    model = make()
    recipe = recipe_for(model)
    stripped = step_model(copy.deepcopy(model.config), torch.float32, ())
    step = FORMS["fixed"](stripped)
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    bound = [weights[name] for name, _ in weights_of(stripped)]
    ours, theirs = read(model, *PROMPT), read(model, *PROMPT)
    for token in range(2, 300):  # past the first size of the buffers
        for layer in ours.layers:
            layer.make_room(layer.length + 1)
        poison(ours)
        position = torch.tensor([ours.get_seq_length()])
        keys = [layer.key_buffer for layer in ours.layers]
        values = [layer.value_buffer for layer in ours.layers]
        logits = step(torch.tensor([[token]]), position, keys, values, bound)
        for layer in ours.layers:
            layer.length += 1
        expected = next_logits(model, token, theirs)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert recipe.form == "growing"  # a CPU reads no more than it has to


class Recorder:
    """Stands in for CUDA graphs: what was recorded is done again with the same tensors."""

    def __init__(self) -> None:
        self.recordings = 0
        self.replays = 0

    def __call__(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.recordings += 1
        logits = torch.full((352,), torch.nan)

        def replay() -> None:
            self.replays += 1
            logits.copy_(run())

        return replay, logits


@pytest.fixture(scope="module")
def model() -> Any:
    return neox()


@pytest.fixture(scope="module")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The step in its fixed form, compiled for the CPU."""
    folder = tmp_path_factory.mktemp("fixed")
    signature = compile_step(replace(recipe_for(model), form="fixed"), folder / "step.pt2")
    (folder / SIGNATURE).write_text(signature.to_json())
    return folder


@pytest.mark.slow
def test_the_compiled_form_agrees_with_the_model(model: Any, folder: Path) -> None:
    record = Recorder()
    step = GraphedStep(folder, model, record)
    ours, theirs = read(model, *PROMPT), read(model, *PROMPT)
    assert disagreement(step, model, 9, ours) == ""
    assert (record.recordings, record.replays) == (1, 1)  # a copy, and the second time from a graph
    for token in range(2, 302):
        poison(ours)
        torch.testing.assert_close(
            step(token, ours), next_logits(model, token, theirs), rtol=1e-4, atol=1e-4
        )
    assert record.recordings == 3  # for this cache, and once its buffers had grown
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        torch.testing.assert_close(mine.keys, other.keys, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mine.values, other.values, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_graph_is_used_for_the_buffers_it_was_recorded_with(model: Any, folder: Path) -> None:
    record = Recorder()
    step = GraphedStep(folder, model, record)
    first, second = read(model, *PROMPT), read(model, 7, 7, 7)
    step(1, first)  # loads the kernels
    step(2, first)
    step.let_go()
    step(3, first)  # the next turn of the same chat
    assert record.recordings == 1
    step(4, second)
    step(5, first)
    assert record.recordings == 3
    again = read(model, *PROMPT)
    for token in (1, 2, 3):
        next_logits(model, token, again)
    torch.testing.assert_close(
        step(6, first), [next_logits(model, t, again) for t in (5, 6)][-1], rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
def test_no_cache_is_kept_alive_by_a_graph(model: Any, folder: Path) -> None:
    step = GraphedStep(folder, model, Recorder())
    cache = read(model, *PROMPT)
    for token in (1, 2, 3):
        step(token, cache)
    buffers = [weakref.ref(layer.key_buffer) for layer in cache.layers]
    step.let_go()
    step._recorded = (lambda: None, torch.empty(0))  # a graph holds addresses, and no tensors
    del cache
    gc.collect()
    assert [buffer() for buffer in buffers] == [None] * len(buffers)
