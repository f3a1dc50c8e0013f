"""The compiled decode path says what the eager one says, comes and goes without losing anything."""

from __future__ import annotations

import gc
import shutil
import signal
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from tests.engine.conftest import build_tokenizer
from tests.engine.replies import GREEDY, PROMPT, finished, request, text, tokens
from tui_chat import doctor
from tui_chat.chat.events import EngineEvent, Prefill, TurboState
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.contract.backend import GenerateRequest, LoadRequest
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.engine.local import LocalBackend, TurboUse
from tui_chat.engine.replies.forward import forward
from tui_chat.engine.replies.kv_buffers import new_cache
from tui_chat.engine.turbo import preparation
from tui_chat.engine.turbo.artefact import (
    PACKAGE,
    TurboError,
    kept_steps,
    recipe_for,
    steps_dir,
)
from tui_chat.engine.turbo.compiled_step import CompiledStep
from tui_chat.engine.turbo.preparation import Preparation
from tui_chat.errors import TuiChatError, UsageError

pytestmark = pytest.mark.slow

LONG = GREEDY.with_values({"max_new_tokens": 40})


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for all, since compiling takes a while."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("TUI_CHAT_HOME", str(path))
        yield path


@pytest.fixture(scope="module")
def registry(make_model_dir: Callable[..., Path], tmp_path_factory: Any) -> Registry:
    """A GPT-NeoX whose greatest logit stands clear of rounding, and a Llama in bf16."""
    folder = tmp_path_factory.mktemp("turbo-models")
    neox = make_model_dir(folder / "neox", initializer_range=0.2)
    llama = folder / "llama"
    rows = build_tokenizer(llama)
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=(rows + 15) // 16 * 16, hidden_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=128,
        max_position_embeddings=2048, tie_word_embeddings=True, initializer_range=0.2,
        bos_token_id=0, eos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(llama)
    paths = {"neox": neox, "llama": llama}
    return Registry({n: ModelSpec(n, str(p), template="oasst") for n, p in paths.items()})


def loaded(
    registry: Registry, model: str = "neox", precision: str = "fp32", turbo: TurboUse = "off"
) -> LocalBackend:
    backend = LocalBackend(registry, threads=1, turbo=turbo)
    wanted = backend.preflight(LoadRequest(model, precision, "cpu"))
    backend.load(wanted, lambda event: None, Event())
    return backend


@pytest.fixture(scope="module")
def backend(registry: Registry) -> Iterator[LocalBackend]:
    backend = loaded(registry)
    backend.choose_path("turbo", Event())
    yield backend
    backend.unload()


def written(
    backend: LocalBackend,
    params: SamplingParams | Callable[[], SamplingParams] = LONG,
    path: str = "turbo",
    ids: tuple[int, ...] = PROMPT,
    cancel: Event | None = None,
    emit: Callable[[EngineEvent], None] = lambda event: None,
) -> list[EngineEvent]:
    """All events of one reply on a path."""
    backend.choose_path(path, Event())  # type: ignore[arg-type]  # one of the names
    events: list[EngineEvent] = []

    def take(event: EngineEvent) -> None:
        events.append(event)
        emit(event)

    wanted: GenerateRequest = request(ids, params)
    backend.generate(replace(wanted, seed=7), take, cancel or Event())
    return events


def test_greedy_text_is_the_same_on_both_paths(backend: LocalBackend) -> None:
    turbo = written(backend)
    eager = written(backend, path="eager")

    assert finished(turbo).stats.path == "turbo"
    assert finished(eager).stats.path == "eager"
    assert tokens(turbo) == tokens(eager)
    assert len(tokens(turbo)) == 40


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 1.0},
        {"temperature": 0.8, "top_k": 20, "repetition_penalty": 1.3},
        {"temperature": 1.5, "top_p": 0.9, "min_p": 0.01},
    ],
)
def test_a_seed_draws_the_same_tokens_on_both_paths(
    backend: LocalBackend, values: dict[str, float]
) -> None:
    params = NEUTRAL.with_values({**values, "max_new_tokens": 30})

    assert tokens(written(backend, params)) == tokens(written(backend, params, "eager"))


def test_logits_differ_by_no_more_than_the_order_of_summation(backend: LocalBackend) -> None:
    """Both paths add the same products in fp32; 1e-4 is far below what decides a token here."""
    assert backend._loaded is not None
    assert backend._preparation is not None
    model, step = backend._loaded.model, backend._preparation.step
    assert step is not None
    ours, theirs = new_cache(model.config), new_cache(model.config)
    with torch.inference_mode():
        for cache in (ours, theirs):
            forward(model, torch.tensor([PROMPT]), cache)
        for token in range(2, 302):  # past the first size of the buffers
            expected = forward(model, torch.tensor([[token]]), theirs).logits[0, -1]
            torch.testing.assert_close(step(token, ours), expected, rtol=1e-4, atol=1e-4)
        for mine, other in zip(ours.layers, theirs.layers, strict=True):
            torch.testing.assert_close(mine.keys, other.keys, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(mine.values, other.values, rtol=1e-4, atol=1e-4)


def test_the_paths_take_turns_within_a_reply(backend: LocalBackend) -> None:
    """Taking over loses no token of the cache, and the text goes on as if nothing had been."""
    whole = tokens(written(backend, path="eager"))
    count = 0

    def change(event: EngineEvent) -> None:
        nonlocal count
        count += 1
        backend.choose_path(("eager", "turbo")[count // 7 % 2], Event())  # type: ignore[arg-type]  # the two names

    assert tokens(written(backend, path="eager", emit=change)) == whole
    assert tokens(written(backend, path="turbo", emit=change)) == whole


def test_the_next_turn_reuses_what_the_compiled_path_computed(backend: LocalBackend) -> None:
    first = tokens(written(backend, ids=(*PROMPT, 9)))
    events = written(backend, ids=(*PROMPT, 9, *first, 0, 60, 61))
    reused = next(event for event in events if isinstance(event, Prefill)).reused

    assert reused == len(PROMPT) + 1 + len(first) - 1
    alone = written(backend, ids=(*PROMPT, 9, *first, 0, 60, 61), path="eager")
    assert tokens(events) == tokens(alone)


def test_no_cache_is_kept_alive_after_a_reply(backend: LocalBackend) -> None:
    written(backend)
    assert backend._writer is not None
    assert backend._writer.cache_bytes
    kept = [weakref.ref(held.cache.layers[0].key_buffer) for held in backend._writer._cache._held]
    backend._writer._cache.drop()
    gc.collect()
    assert [ref() for ref in kept] == [None] * len(kept)


def test_stops_limits_and_knobs_act_at_the_same_token(backend: LocalBackend) -> None:
    whole = written(backend)
    stop = text(whole)[5:9]
    params = LONG.with_values({"stop": (stop,)})
    stopped = written(backend, params)
    assert finished(stopped).reason == "stop"
    assert text(stopped) == text(written(backend, params, "eager"))

    def shrinking() -> Callable[[], SamplingParams]:
        reads = iter([LONG] * 6)
        return lambda: next(reads, LONG.with_values({"max_new_tokens": 9}))

    assert len(tokens(written(backend, shrinking()))) == 9
    assert finished(written(backend, shrinking())).reason == "length"


def test_cancelling_ends_within_a_token_and_the_cache_stays_right(backend: LocalBackend) -> None:
    cancel = Event()
    seen = 0

    def stop(event: EngineEvent) -> None:
        nonlocal seen
        seen += 1
        if seen == 6:
            cancel.set()

    events = written(backend, cancel=cancel, emit=stop)
    assert finished(events).reason == "cancelled"
    assert len(events) <= 8
    assert tokens(written(backend)) == tokens(written(backend, path="eager"))


def test_a_second_start_and_other_weights_take_the_step_that_is_there(
    registry: Registry, backend: LocalBackend, make_model_dir: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_model_dir(tmp_path / "tuned", initializer_range=0.3)
    both = Registry({**registry.models, "tuned": ModelSpec("tuned", str(other), template="oasst")})
    for name in ("neox", "tuned"):
        second = loaded(both, name, turbo="kept")
        assert second.turbo == TurboState("ready")
        turbo = written(second, path="auto")
        assert finished(turbo).stats.path == "turbo"
        assert tokens(turbo) == tokens(written(second, path="eager"))
        second.unload()
        assert second.turbo == TurboState("off")


def test_a_damaged_step_is_set_aside_and_replies_stay_eager(
    registry: Registry, backend: LocalBackend, tmp_path: Path
) -> None:
    assert backend._loaded is not None
    folder = recipe_for(backend._loaded.model).folder
    kept = shutil.copytree(folder, tmp_path / "kept")
    (folder / PACKAGE).write_bytes(b"PK damaged")
    second = loaded(registry, turbo="kept")

    assert second.turbo.stage == "unavailable"
    assert finished(written(second, path="auto")).stats.path == "eager"
    assert not folder.exists()
    shutil.copytree(kept, folder)


def test_a_step_that_turns_out_wrong_is_not_used_and_not_made_again(
    registry: Registry, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert backend._loaded is not None
    made = recipe_for(backend._loaded.model).folder
    monkeypatch.setenv("TUI_CHAT_HOME", str(tmp_path))
    shutil.copytree(made, recipe_for(backend._loaded.model).folder)
    right = CompiledStep._run
    monkeypatch.setattr(CompiledStep, "_run", lambda self, length: right(self, length).roll(1))
    second = loaded(registry, turbo="kept")
    assert second.turbo.stage == "ready"
    reply = written(second, path="auto")

    assert tokens(reply) == tokens(written(backend, path="eager"))
    assert finished(reply).stats.path == "eager"
    assert second.turbo.stage == "unavailable"
    assert "its logits differ from the model's" in second.turbo.reason
    (kept,) = kept_steps()
    assert (kept.hardware, kept.refusal) == ("CPU", second.turbo.reason)
    report = "\n".join(doctor._turbo_lines(doctor._turbo()))
    assert f"gpt_neox float32 on CPU: not used: {kept.refusal}" in report
    again = loaded(registry, turbo="auto")
    assert again.turbo == second.turbo


def test_int8_weights_are_read_as_torchao_stores_them(registry: Registry) -> None:
    """A Llama in bf16 with grouped heads and a tied, unquantised output."""
    backend = loaded(registry, "llama", "int8")
    assert backend._loaded is not None
    model = backend._loaded.model
    assert len(recipe_for(model).int8) == 14
    backend.choose_path("turbo", Event())
    assert backend._preparation is not None
    step = backend._preparation.step
    assert step is not None
    ours, theirs = new_cache(model.config), new_cache(model.config)
    with torch.inference_mode():
        for cache in (ours, theirs):
            forward(model, torch.tensor([PROMPT]), cache)
        logits = step(17, ours)
        expected = forward(model, torch.tensor([[17]]), theirs)
    # Eager int8 rounds to bf16 (8 bits) between operations that the compiled step does in fp32.
    spread = expected.logits.float().std()
    difference = (logits - expected.logits[0, -1].float()).abs().max()
    assert difference < 0.1 * spread
    assert finished(written(backend)).stats.path == "turbo"
    freed = backend.unload()
    assert freed is not None
    assert freed.precision == "int8"


def test_models_that_cannot_be_compiled_say_why(registry: Registry, tmp_path: Path) -> None:
    eight = loaded(registry, precision="8bit")
    with pytest.raises(TuiChatError) as refused:
        eight.choose_path("turbo", Event())
    assert "int8" in refused.value.detail
    assert finished(written(eight, path="auto")).stats.path == "eager"
    eight.unload()

    config = MistralConfig(
        vocab_size=352, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, sliding_window=12,
    )  # fmt: skip
    with pytest.raises(TurboError) as sliding:
        recipe_for(MistralForCausalLM(config))
    assert "attend to the whole text" in sliding.value.detail


def test_without_a_compiler_the_reason_is_said(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUI_CHAT_HOME", str(steps_dir() / "nowhere"))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    backend = loaded(registry, turbo="auto")

    assert backend.turbo.stage == "unavailable"
    assert "compiler" in backend.turbo.reason
    assert finished(written(backend, path="auto")).stats.path == "eager"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (3, "Unsupported: a thing"),
        (-signal.SIGSEGV, "the compiled code or its compiler crashed (SIGSEGV)"),
    ],
)
def test_what_cannot_be_compiled_is_not_tried_again(
    code: int,
    reason: str,
    backend: LocalBackend,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TUI_CHAT_HOME", str(tmp_path / "my home"))
    assert backend._loaded is not None
    model = backend._loaded.model
    runs: list[Path] = []

    def refuse(work: Path, output: Any, environment: Any, cancelled: Event) -> int:
        runs.append(work)
        if code == 3:
            (work / "refusal.txt").write_text(reason)
        else:
            (work / "step.pt2").write_bytes(b"what crashed")
        return code

    monkeypatch.setattr(preparation, "_run", refuse)
    for _ in range(2):
        states: list[TurboState] = []
        second = Preparation(model, True, states.append, 0.0)
        second.start()
        assert second.done.wait(60)
        assert states[-1] == TurboState("unavailable", reason)
    (work,) = runs
    assert " " not in str(work)  # the compiler's command is taken apart there
    assert not work.exists()
    assert len(list(tmp_path.rglob("my home/**/refusal.txt"))) == 1
    assert not list(tmp_path.rglob("step.pt2"))


def test_unloading_stops_the_compiler(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUI_CHAT_HOME", str(tmp_path))
    monkeypatch.setattr(preparation, "PAUSE_S", 0.0)
    begun, ended = Event(), Event()

    def wait(work: Path, output: Any, environment: Any, cancelled: Event) -> int:
        begun.set()
        assert cancelled.wait(60)
        ended.set()
        return -9

    monkeypatch.setattr(preparation, "_run", wait)
    backend = loaded(registry, turbo="auto")
    assert begun.wait(60)
    assert backend.turbo.stage == "compiling"
    backend.unload()
    assert ended.wait(60)
    assert backend.turbo.stage == "off"


def test_an_unknown_path_is_refused(backend: LocalBackend) -> None:
    with pytest.raises(UsageError, match="no path 'warp'"):
        backend.choose_path("warp", Event())  # type: ignore[arg-type]  # on purpose


def test_waiting_for_the_compiled_path_needs_a_model() -> None:
    with pytest.raises(UsageError, match="Nothing can be compiled"):
        LocalBackend().choose_path("turbo", Event())
