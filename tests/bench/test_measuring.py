"""`bench`: real figures of a real small model, and the order in which paths take turns."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Event

import pytest

from tui_chat.bench import BenchOptions, BenchRun, measure, parse_paths, report
from tui_chat.chat.events import EngineEvent, Failed, Finished
from tui_chat.engine.contract.backend import Emit, GenerateRequest, LoadRequest, ReplyPath
from tui_chat.engine.contract.scripted import Script, ScriptedBackend
from tui_chat.engine.local import LocalBackend
from tui_chat.engine.machine import bandwidth
from tui_chat.errors import TuiChatError, UsageError

KEYS = {
    "path", "model", "precision", "device", "context", "new_tokens", "load_s", "ttft_s",
    "prefill_tokens_per_s", "decode_tokens_per_s", "weight_bytes", "peak_bytes",
    "bandwidth_share",
}  # fmt: skip


class TwoPaths(ScriptedBackend):
    """A scripted model with a second path; `log` has what was chosen and how much was asked.

    Args:
        refusal: Why there is no turbo, if there is none.
    """

    def __init__(self, refusal: str = "") -> None:
        super().__init__(Script(replies=["word " * 4000]))
        self.refusal = refusal
        self.path = "eager"
        self.log: list[str | int] = []

    def choose_path(self, path: ReplyPath, cancel: Event) -> None:
        if path == "turbo" and self.refusal:
            raise TuiChatError("Turbo is not possible here", self.refusal)
        self.path = path
        self.log.append(path)

    def generate(self, request: GenerateRequest, emit: Emit, cancel: Event) -> None:
        def tell(event: EngineEvent) -> None:
            if isinstance(event, Finished):
                event = replace(event, stats=replace(event.stats, path=self.path))
            emit(event)

        self.log.append(request.context)
        super().generate(request, tell, cancel)


@pytest.fixture
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine can do is not measured."""
    monkeypatch.setattr(bandwidth, "read_bandwidth", lambda device: 1e9)
    monkeypatch.setattr(bandwidth, "peak_bytes", lambda device: 10**9)


@pytest.fixture(scope="module")
def runs() -> list[BenchRun]:
    load = LoadRequest("guide", precision="fp32", device="cpu")
    return measure(LocalBackend(), BenchOptions(load, context=96, new_tokens=32, rounds=2))


def test_the_figures_are_those_of_a_whole_reply(runs: list[BenchRun]):
    (run,) = runs
    assert (run.path, run.model, run.precision, run.device) == ("eager", "guide", "fp32", "cpu")
    assert run.new_tokens == 32 and run.context == 96
    assert run.decode_tokens_per_s > 0 and run.prefill_tokens_per_s > 0 and run.ttft_s > 0
    assert run.peak_bytes > run.weight_bytes > 10_000_000
    assert 0 < run.bandwidth_share < 1.5


def test_a_row_that_is_looked_up_is_not_counted_as_read(runs: list[BenchRun]):
    (run,) = runs
    assert 0 < run.bytes_per_token < run.weight_bytes
    read = run.bytes_per_token * run.decode_tokens_per_s
    assert run.bandwidth_share == pytest.approx(read / run.read_bandwidth, rel=0.01, abs=1e-4)


def test_the_last_line_is_json_with_the_documented_keys(runs, capsys):
    report(runs, as_json=False)
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])[0]) == KEYS
    report(runs, as_json=True)
    assert json.loads(capsys.readouterr().out) == [run.record() for run in runs]


@pytest.mark.usefixtures("known_machine")
def test_rounds_alternate_between_the_paths_of_one_load():
    backend = TwoPaths()
    options = BenchOptions(
        LoadRequest("guide"), context=64, new_tokens=8, rounds=2, paths=("eager", "turbo")
    )
    eager, turbo = measure(backend, options)
    assert (eager.path, turbo.path) == ("eager", "turbo")
    prepared = backend.log[:2]
    assert prepared == ["eager", "turbo"]
    assert backend.log[2:] == ["eager", 64, "turbo", 64] * 2


@pytest.mark.usefixtures("known_machine")
def test_no_prompt_begins_like_another():
    backend = TwoPaths()
    options = BenchOptions(
        LoadRequest("guide"), context=64, new_tokens=8, rounds=40, paths=("eager", "turbo")
    )
    measure(backend, options)
    assert {len(request.ids) for request in backend.requests} == {56}
    assert len({request.ids[0] for request in backend.requests}) == 80


@pytest.mark.usefixtures("known_machine")
def test_smaller_contexts_are_measured_when_they_are_asked_for():
    backend = TwoPaths()
    options = BenchOptions(
        LoadRequest("guide"), context=200, new_tokens=60, rounds=1, over_contexts=True
    )
    (run,) = measure(backend, options)
    assert [(one.context, one.new_tokens) for one in run.contexts] == [
        (50, 25), (100, 50), (200, 60),
    ]  # fmt: skip
    assert (run.context, run.new_tokens) == (200, 60)
    assert run.decode_tokens_per_s == run.contexts[-1].decode_tokens_per_s


def test_a_path_that_cannot_be_had_is_said_before_anything_is_measured():
    backend = TwoPaths("There is no compiler")
    options = BenchOptions(LoadRequest("guide"), paths=("eager", "turbo"))
    with pytest.raises(TuiChatError, match="Turbo is not possible here: There is no compiler"):
        measure(backend, options)
    assert not backend.requests


def test_a_reply_that_was_decoded_on_another_path_is_no_figure():
    class Forgetful(ScriptedBackend):
        def choose_path(self, path: ReplyPath, cancel: Event) -> None:
            """Stays on the eager path whatever it is told."""

    options = BenchOptions(LoadRequest("guide"), paths=("turbo",))
    with pytest.raises(TuiChatError, match=r"'turbo' could not be measured.*decoded on 'eager'"):
        measure(Forgetful(Script(replies=["word " * 4000])), options)


@pytest.mark.parametrize(("context", "new"), [(10, 10), (10, 0), (5, 20)])
def test_numbers_that_measure_nothing_are_refused(context: int, new: int):
    options = BenchOptions(LoadRequest("guide"), context=context, new_tokens=new)
    with pytest.raises(UsageError):
        measure(LocalBackend(), options)


def test_more_tokens_than_the_model_holds_are_refused_with_the_numbers():
    with pytest.raises(UsageError, match=r"4096 tokens.*guide can hold 2048.*at most 2048"):
        measure(LocalBackend(), BenchOptions(LoadRequest("guide"), context=4096))


def test_paths_are_read_from_a_list():
    assert parse_paths("turbo, eager,turbo") == ("turbo", "eager")


@pytest.mark.parametrize("paths", [("warp",), ("eager", "warp"), ()])
def test_a_path_that_does_not_exist_is_refused_with_those_that_do(paths: tuple[str, ...]):
    with pytest.raises(UsageError, match="eager, turbo"):
        measure(LocalBackend(), BenchOptions(LoadRequest("guide"), paths=paths))


@pytest.mark.usefixtures("known_machine")
def test_a_reply_that_fails_ends_the_measurement_with_its_reason():
    backend = TwoPaths()
    backend.script.failures = {1: (2, Failed("oom", "Out of memory", "4 GiB are missing"))}
    with pytest.raises(TuiChatError, match="Out of memory: 4 GiB are missing"):
        measure(backend, BenchOptions(LoadRequest("guide"), context=64, new_tokens=8))
