"""Exit codes, and that every failure is one plain line."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tui_chat import __version__
from tui_chat.chat.events import Failed
from tui_chat.cli import chatting, program


def test_version(run: CommandLine) -> None:
    result = run("--version")
    assert (result.code, result.out, result.err) == (0, f"tui-chat {__version__}\n", "")


@pytest.mark.parametrize("command", ["", "chat", "ask", "render", "models", "models list", "bench"])
def test_help_is_plain_text_on_stdout(run: CommandLine, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.code == 0 and result.err == ""
    assert result.out.startswith("Usage: tui-chat")
    assert result.out.isascii() and "\x1b" not in result.out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["aks"], "'ask'"),
        (["--modle", "x"], "--model"),
        (["ask", "a", "b"], "extra argument"),
        (["models", "lst"], "'list'"),
        (["transcripts", "show"], "ID"),
        (["chat", "--context", "many"], "--context"),
        (["ask", "hi", "-p", "fp61"], "did you mean fp16?"),
        (["ask", "hi", "--set", "temperature=9"], "Allowed: 0.00 to 2.00"),
        (["ask", "hi", "--set", "temprature=1"], "Did you mean temperature?"),
        (["ask", "hi", "--set", "temp=1"], "Did you mean temperature?"),
        (["ask", "hi", "--set", "top=1"], "Did you mean top_k or top_p?"),
        (["ask", "hi", "--set", "temperature"], "It has no '='"),
        (["ask", "hi", "--seed", "-1"], "seed"),
        (["ask", "hi", "--preset", "k51"], "Did you mean k50?"),
        (["ask", "hi", "--device", "gpu"], "known are auto, cpu"),
        (["ask", ""], "The prompt is empty"),
        (["ask", "  \n"], "The prompt is empty"),
        (["render"], "either --chat or --message"),
        (["render", "--message", "hello"], "has no role"),
        (["render", "--message", "robot:hi"], "has no role"),
        (["render", "--message", "user:a", "--message", "system:b"], "first message"),
        (["chat", "--script", "x"], "--script needs --plain"),
        (["transcripts", "export", "last", "--format", "pdf"], "no export format 'pdf'"),
    ],
)
def test_wrong_usage_is_one_line_and_2(run: CommandLine, words: list[str], part: str) -> None:
    result = run(*words)
    assert result.code == 2
    assert result.out == ""
    assert part in result.complaint


def test_options_without_a_command_are_those_of_chat(run: CommandLine) -> None:
    result = run("--plain", "--model", "guide", stdin="hello\n")
    assert result.code == 0
    assert "Assistant: Hello!" in result.out


def test_the_program_without_a_terminal_names_the_other_ways(run: CommandLine) -> None:
    result = run()
    assert result.code == 2
    assert "--plain" in result.complaint and "ask" in result.complaint


def test_a_run_time_failure_is_one_line_and_1(run: CommandLine) -> None:
    failure = Failed("oom", "Out of memory", "It needs\n4 GiB\x1b[31m", "Use 8bit")
    run.script.failures = {0: (2, failure)}
    result = run("ask", "hi")
    assert result.code == 1
    assert result.complaint == "Out of memory. It needs 4 GiB␛[31m. Use 8bit." or (
        result.complaint == "Out of memory: It needs 4 GiB␛[31m. Use 8bit."
    )


def test_a_bug_is_one_line_with_the_place_of_the_traceback(
    run: CommandLine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret\nmistake")

    monkeypatch.setattr(chatting, "whole_prompt", broken)
    result = run("ask", "hi")
    assert result.code == 1
    log = home / "logs" / "tui-chat.log"
    assert "ZeroDivisionError" in result.complaint and str(log) in result.complaint
    logging.getLogger().handlers[-1].flush()
    assert "Traceback" in log.read_text() and "in broken" in log.read_text()


def test_ctrl_c_is_130(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(chatting, "whole_prompt", interrupted)
    result = run("ask", "hi")
    assert (result.code, result.out, result.err) == (130, "", "")


@pytest.mark.parametrize("is_buffered", [True, False])
def test_a_full_disk_behind_stdout_is_one_line_and_1(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, is_buffered: bool
) -> None:
    for arguments in (("ask", "hi"), ("ask", "hi", "--json"), ("transcripts", "list", "--json")):
        with monkeypatch.context() as patch, open("/dev/full", "wb", buffering=0) as full:
            raw = io.BufferedWriter(full) if is_buffered else full
            out = io.TextIOWrapper(raw, encoding="utf-8", write_through=not is_buffered)  # type: ignore[arg-type]  # as python -u does
            patch.setattr(sys, "stdout", out)
            result = run(*arguments)
        assert result.code == 1
        assert "No space left on device" in result.complaint, arguments


def test_a_closed_stdout_is_refused_before_anything_is_loaded(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (("ask", "hi"), ("--plain",), ("bench",), ("models", "list", "--json")):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", None)
            result = run(*arguments)
        assert (result.code, "Standard output is closed" in result.complaint) == (1, True)
    assert not run.prompts


def test_a_reader_that_left_is_no_failure(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (("ask", "hi"), ("models", "list"), ("transcripts", "list", "--json")):
        reading, writing = os.pipe()
        os.close(reading)
        with monkeypatch.context() as patch, open(writing, "w", encoding="utf-8") as pipe:
            patch.setattr(sys, "stdout", pipe)
            result = run(*arguments)
        assert (result.code, result.err) == (0, ""), arguments


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["ask", "-c"], ["ask", "--continue=last"]),
        (["ask", "hi", "--continue"], ["ask", "hi", "--continue=last"]),
        (["ask", "-c", "what else?"], ["ask", "--continue=last", "what else?"]),
        (["ask", "-c", "d9abcf50", "hi"], ["ask", "--continue", "d9abcf50", "hi"]),
        (["ask", "-c", "nonhex", "hi"], ["ask", "--continue", "nonhex", "hi"]),
        (["ask", "hi", "-c", "nonhex"], ["ask", "hi", "--continue", "nonhex"]),
        (["ask", "-c", "nonhex", "--json", "hi"], ["ask", "--continue", "nonhex", "--json", "hi"]),
        (["ask", "-c", "why?", "--set", "k=1"], ["ask", "--continue=last", "why?", "--set", "k=1"]),
        (["ask", "-c", "nonhex", "--", "-hi"], ["ask", "--continue", "nonhex", "--", "-hi"]),
        (["ask", "-c", "last", "hi"], ["ask", "--continue", "last", "hi"]),
        (["ask", "-c", "--json"], ["ask", "--continue=last", "--json"]),
        (["ask", "--", "-c"], ["ask", "--", "-c"]),
        (["ask", "--continue=xyz"], ["ask", "--continue=xyz"]),
    ],
)
def test_the_chat_to_go_on_with_may_be_left_out(typed: list[str], completed: list[str]) -> None:
    assert program._completed(typed) == completed
