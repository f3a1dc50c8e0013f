"""`max_new_tokens` ends with the context: typed, in a file, in a preset, and in a running chat."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine

OWN_PRESET = "[presets.mine]\nmax_new_tokens = 5000\n"


@pytest.mark.parametrize(
    "words",
    [
        ["ask", "hi", "--set", "max_new_tokens=2049"],
        ["ask", "hi", "--set", "output_length=2049"],
        ["ask", "hi", "--context", "64", "--set", "max_new_tokens=65"],
        ["--plain", "--set", "max_new_tokens=2049"],
        ["render", "--message", "user:hi", "--set", "max_new_tokens=2049"],
        ["bench", "--set", "max_new_tokens=2049"],
    ],
)
def test_a_typed_value_beyond_the_context_is_refused_before_anything_is_loaded(
    run: CommandLine, words: list[str]
) -> None:
    result = run(*words, stdin="hello\n")
    context = 64 if "64" in words else 2048
    assert (result.code, result.out) == (2, "")
    assert result.complaint == (
        f"max_new_tokens was not changed: {context + 1} is more than the context, {context} "
        f"tokens. Allowed: 1 to {context}."
    )
    assert not run.prompts


def test_the_context_itself_is_allowed(run: CommandLine) -> None:
    result = run("ask", "hi", "--json", "--set", "max_new_tokens=2048")
    assert result.code == 0 and result.json["params"]["max_new_tokens"] == 2048


def test_a_typed_value_is_refused_when_the_model_turns_out_to_hold_less(run: CommandLine) -> None:
    run.script.context = 512
    result = run("ask", "hi", "--set", "max_new_tokens=600")
    assert (result.code, result.out) == (2, "")
    assert "600 is more than the context, 512 tokens" in result.complaint
    assert not run.prompts


def test_a_value_of_the_settings_costs_only_itself(run: CommandLine, home: Path) -> None:
    config = home / "config.toml"
    config.write_text("[parameters]\ntemperature = 0.25\nmax_new_tokens = 5000\n")
    result = run("ask", "hi", "--json")
    assert result.code == 0
    assert f"5000 is more than the context, 2048 tokens ({config}, line 3)" in result.complaint
    params = result.json["params"]
    assert (params["temperature"], params["max_new_tokens"]) == (0.25, 512)


def test_a_value_of_the_settings_is_told_when_the_model_turns_out_to_hold_less(
    run: CommandLine, home: Path
) -> None:
    (home / "config.toml").write_text("[parameters]\nmax_new_tokens = 600\n")
    run.script.context = 300
    result = run("ask", "hi", "--json")
    assert result.code == 0 and "600 is more than the context, 300 tokens" in result.complaint
    assert result.json["params"]["max_new_tokens"] == 300


def test_an_own_preset_beyond_the_context_is_refused_where_it_is_typed(
    run: CommandLine, home: Path
) -> None:
    (home / "models.toml").write_text(OWN_PRESET)
    result = run("ask", "hi", "--preset", "mine")
    assert result.code == 2
    assert "The preset 'mine' does not fit: Its max_new_tokens, 5000," in result.complaint
    assert "Allowed: 1 to 2048" in result.complaint


@pytest.mark.parametrize("place", ["config.toml", "environment", "models.toml"])
def test_an_own_preset_of_a_file_is_told_and_cut_to_the_context(
    run: CommandLine, home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    models = OWN_PRESET
    if place == "config.toml":
        (home / "config.toml").write_text('preset = "mine"\n')
    elif place == "environment":
        monkeypatch.setenv("TUI_CHAT_PRESET", "mine")
    else:
        models += '[models.guide]\npreset = "mine"\n'
    (home / "models.toml").write_text(models)
    result = run("ask", "hi", "--json")
    assert result.code == 0
    assert "The preset 'mine' does not fit" in result.complaint
    where = {"environment": "TUI_CHAT_PRESET"}.get(place, str(home / place))
    assert where in result.complaint
    assert result.json["params"]["max_new_tokens"] == 2048


@pytest.mark.parametrize("words", [[], ["--preset", "k50"]])
def test_what_ships_with_the_program_gives_way_in_silence(
    run: CommandLine, words: list[str]
) -> None:
    result = run("ask", "hi", "--json", "--context", "100", "--reserve", "20", *words)
    assert (result.code, result.err) == (0, "")
    assert result.json["params"]["max_new_tokens"] == 100


def test_a_running_chat_refuses_it_and_keeps_the_old_value(run: CommandLine, home: Path) -> None:
    (home / "models.toml").write_text(OWN_PRESET)
    lines = ["/set max_new_tokens=77", "/set max_new_tokens=3000", "/preset mine", "hi"]
    result = run("--plain", stdin="\n".join(lines))
    refused, preset = result.err.splitlines()
    assert "3000 is more than the context. Allowed: 1 to 2048" in refused
    assert "preset 'mine' does not fit" in preset
    (request,) = run.backends[-1].requests
    assert request.params().max_new_tokens == 77


def test_doctor_names_what_a_file_asks_for_in_vain(run: CommandLine, home: Path) -> None:
    (home / "config.toml").write_text("[parameters]\nmax_new_tokens = 5000\n")
    result = run("doctor", "--json")
    assert result.code == 1
    (problem,) = result.json["problems"]
    assert "5000 is more than the context" in problem["detail"]
