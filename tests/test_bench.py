"""`tui-chat bench`: real figures of a real small model, in the documented form."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tui_chat.bench import BenchOptions, BenchRun, measure, report
from tui_chat.engine.backend import LoadRequest
from tui_chat.engine.local import LocalBackend
from tui_chat.errors import UsageError

KEYS = {
    "path", "model", "precision", "device", "context", "new_tokens", "load_s", "ttft_s",
    "prefill_tokens_per_s", "decode_tokens_per_s", "weight_bytes", "peak_bytes",
    "bandwidth_share",
}  # fmt: skip


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


def test_the_last_line_is_json_with_the_documented_keys(runs, capsys):
    report(runs, as_json=False)
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])[0]) == KEYS
    report(runs, as_json=True)
    assert json.loads(capsys.readouterr().out) == [asdict(run) for run in runs]


@pytest.mark.parametrize(("context", "new"), [(10, 10), (10, 0), (5, 20)])
def test_numbers_that_measure_nothing_are_refused(context: int, new: int):
    options = BenchOptions(LoadRequest("guide"), context=context, new_tokens=new)
    with pytest.raises(UsageError):
        measure(LocalBackend(), options)


def test_more_tokens_than_the_model_holds_are_refused_with_the_numbers():
    with pytest.raises(UsageError, match=r"4096 tokens.*guide can hold 2048.*at most 2048"):
        measure(LocalBackend(), BenchOptions(LoadRequest("guide"), context=4096))


def test_a_path_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="eager"):
        measure(LocalBackend(), BenchOptions(LoadRequest("guide"), paths=("turbo",)))
