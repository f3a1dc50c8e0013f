"""What only a GPU can show: turbo from CUDA graphs, int8, and what is left after unloading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from tests.engine.replies import GREEDY, PROMPT, finished, request, tokens
from tui_chat.chat.events import EngineEvent
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.contract.backend import LoadRequest, ReplyPath
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.engine.local import LocalBackend
from tui_chat.engine.machine.devices import support_of
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.kv_buffers import new_cache
from tui_chat.engine.turbo.checked_step import disagreement

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

LONG = GREEDY.with_values({"max_new_tokens": 300})
"""Past the first size of the buffers, so that a graph is recorded again."""
MIB = 2**20


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUI_CHAT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def registry(make_model_dir: Callable[..., Path], tmp_path_factory: Any) -> Registry:
    folder = make_model_dir(tmp_path_factory.mktemp("model") / "tiny", initializer_range=0.2)
    return Registry({"tiny": ModelSpec("tiny", str(folder), template="oasst")})


def loaded(registry: Registry, precision: str) -> LocalBackend:
    backend = LocalBackend(registry)
    wanted = backend.preflight(LoadRequest("tiny", precision, "cuda"))
    backend.load(wanted, lambda event: None, Event())
    return backend


def written(backend: LocalBackend, path: ReplyPath, params: SamplingParams) -> list[EngineEvent]:
    backend.choose_path(path, Event())
    events: list[EngineEvent] = []
    backend.generate(request(PROMPT, params, stop_ids=()), events.append, Event())
    assert finished(events).stats.path == path
    return events


@pytest.mark.parametrize("params", [LONG, NEUTRAL.with_values({"max_new_tokens": 40})])
def test_turbo_writes_what_eager_writes(registry: Registry, params: SamplingParams) -> None:
    """In fp32, where nothing but the order of summation differs."""
    backend = loaded(registry, "fp32")
    eager = tokens(written(backend, "eager", params))

    for _ in range(2):  # the second reply begins with the cache of the first
        assert tokens(written(backend, "turbo", params)) == eager
    preparation = backend._preparation
    assert preparation is not None and preparation.step is not None
    graphed: Any = preparation.step._step
    assert graphed._recorded is not None
    backend.unload()


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_half_precisions_and_int8_agree_with_the_model(registry: Registry, precision: str) -> None:
    reason = support_of("cuda:0", "int8" if precision == "int8" else "fp16").reason
    if reason:
        pytest.skip(reason)
    backend = loaded(registry, precision)
    assert len(tokens(written(backend, "turbo", LONG))) > 1
    preparation, model = backend._preparation, backend._loaded
    assert preparation is not None and preparation.step is not None and model is not None
    step = preparation.step._step
    assert step is not None
    cache = new_cache(model.model.config)
    with torch.inference_mode():
        ids = torch.tensor([PROMPT], device="cuda")
        forward(model.model, ids, cache)
        for token in (17, 80, 200):
            assert disagreement(step, model.model, token, cache) == ""
    backend.unload()


def test_nothing_stays_on_the_device_after_unloading(registry: Registry) -> None:
    left = []
    for precision in ("fp16", "8bit", "int8", "4bit", "fp32") * 2:
        if support_of("cuda:0", precision).reason:  # type: ignore[arg-type]  # the names of some
            continue
        backend = loaded(registry, precision)
        backend.choose_path("auto", Event())
        events: list[EngineEvent] = []
        backend.generate(request(), events.append, Event())
        finished(events)
        backend.unload()
        left.append(torch.cuda.memory_allocated())
    assert max(left) <= 64 * MIB
    assert left[-1] - left[len(left) // 2] <= MIB
