"""`bench` as a command: its options reach the model, and it says what it cannot measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tui_chat.bench import DEFAULT_CONTEXT, FILLER
from tui_chat.engine.contract.backend import GenerateRequest
from tui_chat.engine.contract.scripted import ScriptedBackend


@pytest.fixture
def bench(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Commands with a model of words; what the machine can do is not measured."""
    from tui_chat.engine.machine import bandwidth

    monkeypatch.setattr(bandwidth, "read_bandwidth", lambda device: 1e9)
    monkeypatch.setattr(bandwidth, "peak_bytes", lambda device: 10**9)
    monkeypatch.setattr(ScriptedBackend, "unload", lambda self: None)  # its words are read after
    run.script.replies = ["word " * 4000]
    return run


def request_of(run: CommandLine) -> GenerateRequest:
    return run.backends[-1].requests[0]


def test_the_options_reach_the_request(bench: CommandLine) -> None:
    result = bench(
        "bench", "--json", "--rounds", "1", "--context", "200", "--new", "20", "-p", "bf16",
        "--device", "cpu", "--preset", "k50", "--set", "top_k=7", "--seed", "5",
        "--template", "oasst", "--reserve", "30",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    (run,) = result.json
    assert (run["context"], run["new_tokens"], run["precision"]) == (200, 20, "bf16")
    request = request_of(bench)
    params = request.params()
    assert (request.context, len(request.ids), request.seed) == (200, 180, 5)
    assert (params.top_k, params.repetition_penalty, params.max_new_tokens) == (7, 1.2, 20)


def test_the_reserve_is_what_is_written_unless_it_is_said(bench: CommandLine) -> None:
    result = bench("bench", "--json", "--rounds", "1", "--context", "200", "--reserve", "30")
    assert result.json[0]["new_tokens"] == 30
    result = bench("bench", "--json", "--rounds", "1", "--set", "max_new_tokens=40")
    assert result.json[0]["new_tokens"] == 40


def test_the_settings_of_files_do_not_change_how_it_writes(bench: CommandLine, home: Path) -> None:
    (home / "config.toml").write_text(
        'preset = "k50"\ncontext = 1000\nreserve = 9\n[parameters]\nmax_new_tokens = 3\n'
    )
    result = bench("bench", "--json", "--rounds", "1")
    assert (result.json[0]["context"], result.json[0]["new_tokens"]) == (DEFAULT_CONTEXT, 128)
    assert request_of(bench).params().is_greedy


def test_the_prompt_is_made_of_the_system_message_and_the_chat(bench: CommandLine) -> None:
    bench.script.replies = ["Ada Lovelace."]
    bench("ask", "Who wrote the first program?")
    bench.script.replies = ["word " * 4000]
    bench("bench", "--json", "--rounds", "1", "--resume", "last", "--system", "Be kind.")
    assert "Be kind.\n\nWho wrote the first program?\n\nAda Lovelace." in bench.prompts[-1]
    assert FILLER.split()[1] not in bench.prompts[-1]


def test_a_context_beyond_the_models_is_refused_with_the_numbers(bench: CommandLine) -> None:
    result = bench("bench", "--context", "4096")
    assert (result.code, result.out) == (2, "")
    assert "4096" in result.complaint and "at most 2048" in result.complaint
    assert not bench.prompts


def test_without_a_context_a_small_model_is_measured_at_its_own(bench: CommandLine) -> None:
    bench.script.context = 300
    assert bench("bench", "--json", "--rounds", "1").json[0]["context"] == 300


def test_a_chat_and_a_plot_of_it(bench: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "figure.svg"
    result = bench("bench", "--json", "--rounds", "1", "--chat", "3", "--plot", str(file))
    assert (result.code, result.err) == (0, "")
    (run,) = result.json
    assert run["context"] == 2048  # the model's own
    assert [turn["prompt_tokens"] for turn in run["turns"]] == sorted(
        turn["new_tokens"] + turn["reused_tokens"] for turn in run["turns"]
    )
    assert [one["context"] for one in run["contexts"]] == [512, 1024, 2048]
    assert "Time to the first token" in file.read_text()


def test_a_path_that_cannot_be_had_here_is_a_failure(bench: CommandLine) -> None:
    result = bench("bench", "--paths", "eager,turbo")
    assert (result.code, result.out) == (1, "") and "eager" in result.complaint
    assert not bench.prompts


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--new", "0"], "0 new tokens"),
        (["--context", "64", "--new", "64"], "the context has 64"),
        (["--reserve", "512"], "512 new tokens"),
        (["--preset", "k51"], "Did you mean k50?"),
        (["--set", "temp=1"], "Did you mean temperature?"),
        (["--paths", "warp"], "There is no path 'warp'. Choose of eager, turbo"),
        (["--paths", ""], "A path is missing"),
        (["--chat", "0"], "'--chat'"),
        (["--chat", "-3"], "'--chat'"),
        (["--chat", "many"], "'--chat'"),
        (["--chat", "5", "--context", "120", "--new", "8"], "Two turns have"),
        (["--rounds", "0"], "'--rounds'"),
        (["--plot", "figure.png"], "Plots are SVG"),
        (["--plot", "no-such-folder/figure.svg"], "There is no folder no-such-folder"),
    ],
)
def test_what_cannot_be_measured_is_wrong_usage(
    bench: CommandLine, words: list[str], part: str
) -> None:
    result = bench("bench", *words)
    assert (result.code, result.out) == (2, "") and part in result.complaint
