"""A real tiny model in this process, from its directory to its last token, on the engine thread."""

from __future__ import annotations

import gc
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tui_chat.chat.events import (
    Delta,
    EngineEvent,
    Failed,
    Finished,
    Loading,
    Prefill,
    Ready,
    Unloaded,
)
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.chat.prompt import PromptComposer
from tui_chat.chat.templates import PromptMessage, PromptTemplate, TokenEncoder
from tui_chat.engine.contract.backend import GenerateRequest, LoadRequest
from tui_chat.engine.contract.runner import EngineRunner
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.engine.local import LocalBackend
from tui_chat.errors import ModelNotFoundError

GREEDY = NEUTRAL.with_values({"temperature": 0, "max_new_tokens": 12})


@pytest.fixture(scope="module")
def registry(tiny_model_dir: Path, make_model_dir: Callable[..., Path]) -> Registry:
    other = make_model_dir(tiny_model_dir.parent / "other", num_hidden_layers=3)
    broken = tiny_model_dir.parent / "broken"
    if not broken.exists():
        shutil.copytree(tiny_model_dir, broken)
        weights = broken / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-2000])
    paths = {"tiny": tiny_model_dir, "other": other, "broken": broken}
    return Registry(
        {name: ModelSpec(name, str(path), template="oasst") for name, path in paths.items()},
        default="tiny",
    )


@pytest.fixture
def backend(registry: Registry) -> LocalBackend:
    return LocalBackend(registry, threads=1)


@pytest.fixture
def runner(backend: LocalBackend) -> Iterator[EngineRunner]:
    runner = EngineRunner(backend)
    yield runner
    assert runner.close(10)


def load(runner: EngineRunner, name: str = "tiny", **options: Any) -> list[EngineEvent]:
    events: list[EngineEvent] = []
    request = LoadRequest(name, **{"precision": "fp32", "device": "cpu", **options})
    assert runner.submit_load(request, events.append).done.wait(60)
    return events


def prompt(backend: LocalBackend, *texts: str) -> GenerateRequest:
    encoder, template, info = backend.encoder, backend.template, backend.info
    assert encoder is not None
    assert template is not None
    assert info is not None
    roles = ("user", "assistant")
    messages = [
        PromptMessage(str(i), roles[i % 2], text)  # type: ignore[arg-type]  # the literals above
        for i, text in enumerate(texts)
    ]
    ids = tuple(i for s in template.render(messages, encoder) for i in s.ids)
    return GenerateRequest(ids, lambda: GREEDY, 1, template.stop_tokens(encoder), info.context)


def ask(runner: EngineRunner, backend: LocalBackend, *texts: str) -> list[EngineEvent]:
    events: list[EngineEvent] = []
    job = runner.submit_generate(lambda: prompt(backend, *texts), events.append)
    assert job.done.wait(60)
    return events


def text(events: list[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_importing_the_backend_imports_no_torch() -> None:
    code = (
        "import sys, tui_chat.engine.local, tui_chat.engine.contract.runner;"
        "sys.exit(int(bool({'torch', 'transformers'} & set(sys.modules))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_model_is_loaded_asked_and_freed(runner: EngineRunner, backend: LocalBackend) -> None:
    loaded = load(runner)
    reply = ask(runner, backend, "Hello!")
    freed: list[EngineEvent] = []
    assert runner.submit_unload(freed.append).done.wait(60)

    assert isinstance(loaded[0], Loading)
    assert isinstance(loaded[-1], Ready)
    assert loaded[-1].info.name == "tiny"
    assert isinstance(reply[-1], Finished)
    assert [type(event) for event in freed] == [Unloaded]
    assert backend.info is None
    assert backend.encoder is None


def test_the_tokenizer_is_there_before_the_weights(
    runner: EngineRunner, backend: LocalBackend
) -> None:
    counted: list[int] = []

    def on_event(event: EngineEvent) -> None:
        if isinstance(event, Loading) and event.stage == "weights" and backend.encoder:
            counted.append(len(backend.encoder.encode("Hello!")))

    request = LoadRequest("tiny", "fp32", "cpu")
    assert runner.submit_load(request, on_event).done.wait(60)

    assert counted
    assert min(counted) > 0


def test_asking_without_a_model_is_a_failure_in_words(
    runner: EngineRunner, backend: LocalBackend
) -> None:
    events: list[EngineEvent] = []
    request = GenerateRequest((1,), lambda: GREEDY, 1, (0,), 2048)
    assert runner.submit_generate(lambda: request, events.append).done.wait(10)

    assert isinstance(events[-1], Failed)
    assert events[-1].code == "load"


def test_the_second_turn_reuses_the_first(runner: EngineRunner, backend: LocalBackend) -> None:
    load(runner)
    first = ask(runner, backend, "Hello!")
    second = ask(runner, backend, "Hello!", "The quick brown fox.", "And?")

    assert next(e for e in first if isinstance(e, Prefill)).reused == 0
    stats = second[-1].stats  # type: ignore[union-attr]  # it must be Finished
    assert stats.reused_tokens >= len(prompt(backend, "Hello!").ids)


def test_a_switch_drops_the_cache_and_speaks_with_the_other_model(
    runner: EngineRunner, backend: LocalBackend
) -> None:
    load(runner)
    first = text(ask(runner, backend, "Hello!"))
    switched = load(runner, "other")
    other = ask(runner, backend, "Hello!")
    load(runner)
    again = text(ask(runner, backend, "Hello!"))

    assert isinstance(switched[0], Unloaded)
    assert next(e for e in other if isinstance(e, Prefill)).reused == 0
    assert text(other) != first
    assert again == first


def test_switching_precisions_again_and_again_leaves_nothing(
    runner: EngineRunner, backend: LocalBackend
) -> None:
    left = []
    for _ in range(3):
        for precision in ("bf16", "8bit", "4bit"):
            load(runner, precision=precision)
            assert text(ask(runner, backend, "Hello!"))
            assert runner.submit_unload(lambda _: None).done.wait(60)
        left.append(living_tensor_bytes())

    assert left[1] == left[2]


def living_tensor_bytes() -> int:
    """Bytes of all tensors there are; other tests keep some."""
    import torch

    gc.collect()
    tensors = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def test_a_broken_model_leaves_the_old_one_answering(
    runner: EngineRunner, backend: LocalBackend
) -> None:
    load(runner)
    before = text(ask(runner, backend, "Hello!"))
    failed = load(runner, "broken")
    after = text(ask(runner, backend, "Hello!"))

    assert any(isinstance(event, Failed) for event in failed)
    assert backend.info is not None
    assert backend.info.name == "tiny"
    assert after == before


def test_an_unknown_model_is_refused_before_anything_is_freed(
    runner: EngineRunner, backend: LocalBackend
) -> None:
    load(runner)
    events = load(runner, "tiyn")

    assert [type(event) for event in events] == [Failed]
    assert "tiny" in events[0].hint  # type: ignore[union-attr]  # as asserted above
    assert text(ask(runner, backend, "Hello!"))
    with pytest.raises(ModelNotFoundError):
        backend.precisions("tiyn")


def always_writing(path: Path, token_id: int) -> None:
    """Change the weights so that one token is always the most probable."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        model.gpt_neox.final_layer_norm.weight.zero_()
        model.gpt_neox.final_layer_norm.bias.fill_(1.0)
        model.get_output_embeddings().weight.zero_()
        model.get_output_embeddings().weight[token_id] = 1.0
    model.save_pretrained(path)


@pytest.mark.parametrize(
    ("token_id", "reason", "shown"), [(0, "eos", ""), (2, "length", "!" * 12)], ids=["end", "mark"]
)
def test_the_flagships_trap_an_end_token_of_2_in_the_config(
    make_model_dir: Callable[..., Path], tmp_path: Path, token_id: int, reason: str, shown: str
) -> None:
    """config.json says 2, which is `!`; replies end with the tokenizer's 0 and nothing else."""
    path = make_model_dir(tmp_path / "trap", eos_token_id=2)
    always_writing(path, token_id)
    assert json.loads((path / "config.json").read_text())["eos_token_id"] == 2
    backend = LocalBackend(Registry({"trap": ModelSpec("trap", str(path), template="oasst")}))
    runner = EngineRunner(backend)
    try:
        load(runner, "trap")
        reply = ask(runner, backend, "Hello!")
    finally:
        assert runner.close(10)

    assert text(reply) == shown
    assert isinstance(reply[-1], Finished)
    assert reply[-1].reason == reason


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_a_model_that_brings_its_own_template(
    make_model_dir: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_model_dir(tmp_path / "own", tags=("<|im_start|>", "<|im_end|>"))
    (path / "chat_template.jinja").write_text(CHATML)
    backend = LocalBackend(Registry({"own": ModelSpec("own", str(path))}))
    runner = EngineRunner(backend)
    try:
        loaded = load(runner, "own")
        reply = ask(runner, backend, "Hello!")
    finally:
        assert runner.close(10)

    assert isinstance(loaded[-1], Ready)
    assert loaded[-1].info.template == "auto"
    assert isinstance(reply[-1], Finished)


def test_the_pickers_know_what_is_loaded(runner: EngineRunner, backend: LocalBackend) -> None:
    load(runner)

    assert [choice.name for choice in backend.models() if choice.is_current] == ["tiny"]
    assert [c.precision for c in backend.precisions("tiny") if c.is_current] == ["fp32"]
    assert not any(choice.is_current for choice in backend.precisions("other"))
    assert backend.memory_bytes() > 0


def test_counting_drafts_while_a_reply_is_written_is_exact(
    runner: EngineRunner, backend: LocalBackend
) -> None:
    load(runner)
    encoder, template = backend.encoder, backend.template
    assert encoder is not None
    assert template is not None
    expected = encoder.encode("draft <|assistant|> text")
    wrong: list[list[int]] = []
    stop = Event()

    def count(encoder: TokenEncoder, template: PromptTemplate) -> None:
        composer = PromptComposer(template, encoder, 2048, 256)
        while not stop.is_set():
            ids = composer.encoder.encode("draft <|assistant|> text")
            if ids != expected:
                wrong.append(ids)

    counter = threading.Thread(target=count, args=(encoder, template))
    counter.start()
    try:
        replies = {text(ask(runner, backend, "<|prompter|>Hello!")) for _ in range(5)}
    finally:
        stop.set()
        counter.join()

    assert wrong == []
    assert len(replies) == 1


def test_cancelling_at_random_instants_through_the_runner(
    runner: EngineRunner, backend: LocalBackend
) -> None:
    load(runner)
    long = SamplingParams(temperature=0, max_new_tokens=200)
    draw = random.Random(7)
    waits = []
    for number in range(40):
        events: list[EngineEvent] = []
        ids = (*[(number * 7 + i) % 300 + 2 for i in range(400)], 341)
        request = GenerateRequest(ids, lambda: long, 1, (0,), 2048)
        job = runner.submit_generate(lambda r=request: r, events.append)
        job.done.wait(draw.random() * 0.15)
        began = time.monotonic()
        job.cancel()
        assert job.done.wait(5)
        waits.append(time.monotonic() - began)
        assert sum(isinstance(event, Finished | Failed) for event in events) == 1
        assert isinstance(events[-1], Finished)

    assert max(waits) < 2
    assert text(ask(runner, backend, "Hello!"))


def test_closing_in_the_middle_of_a_reply_ends_the_thread(registry: Registry) -> None:
    backend = LocalBackend(registry, threads=1)
    runner = EngineRunner(backend)
    load(runner)
    started = Event()
    events: list[EngineEvent] = []

    def on_event(event: EngineEvent) -> None:
        events.append(event)
        if isinstance(event, Delta):
            started.set()

    long = SamplingParams(max_new_tokens=2000)
    request = GenerateRequest((5, 6), lambda: long, 1, (), 2048)
    job = runner.submit_generate(lambda: request, on_event)
    assert started.wait(10)

    assert runner.close(5)
    assert job.done.is_set()
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"
