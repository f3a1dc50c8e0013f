"""`chat --plain`: a line-by-line chat."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import CommandLine
from tui_chat import plain
from tui_chat.chat.events import Failed
from tui_chat.safe_text import safe_text
from tui_chat.terminal import safe_writer


def test_example_prompts_are_echoed_and_answered_in_order(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_PROMPTS", json.dumps(["Hello", "And then?"]))
    run.script.replies = ["One.", "Two."]
    result = run("chat", "--plain", "--set", "temperature=0")
    assert result.code == 0 and result.err == ""
    assert result.out == (
        "Prompter: Hello\nAssistant: One.\nPrompter: And then?\nAssistant: Two.\n"
    )
    assert "Hello" in run.prompts[-1]


def test_an_empty_prompt_ends_the_chat(run: CommandLine, tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("One\n\nTwo\n")
    result = run("chat", "--plain", "--script", str(script))
    assert result.code == 0
    assert "One" in result.out and "Two" not in result.out


def test_lines_of_stdin_are_prompts_and_its_end_ends_the_chat(run: CommandLine) -> None:
    result = run("--plain", stdin=b"first\r\nsecond \xff")
    assert result.code == 0
    assert "Prompter: first\n" in result.out and "Prompter: second \ufffd\n" in result.out


def test_a_closed_stdin_ends_the_chat(run: CommandLine) -> None:
    assert run("--plain", stdin=None).code == 0


@pytest.mark.parametrize("value", ["[1]", "{}", "hello", '["a"', "[" * 5000])
def test_example_prompts_that_are_no_list_of_strings_are_refused(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("EXAMPLE_PROMPTS", value)
    result = run("--plain")
    assert result.code == 2 and "JSON list of strings" in result.complaint


def test_a_missing_script_is_an_error(run: CommandLine) -> None:
    result = run("--plain", "--script", "/no/such/file")
    assert result.code == 1 and "No such file" in result.complaint


def test_an_error_is_one_line_and_the_chat_goes_on(run: CommandLine) -> None:
    run.script.failures = {0: (2, Failed("internal", "It broke", "", "Try again"))}
    result = run("--plain", stdin="a\nb\n")
    assert result.code == 1, "a script that failed in a part says so"
    assert "It broke" in result.complaint
    assert result.out.endswith("Prompter: b\nAssistant: Hello! This reply comes from a script.\n")


def test_commands_work_from_the_prompt(run: CommandLine) -> None:
    lines = ["/set temperature=0.5", "/set nonsense=1", "hi", "/retry", "/new", "/system Be kind."]
    result = run("--plain", stdin="\n".join([*lines, "hello", "/help", "/quit", "never"]))
    assert "never" not in result.out.partition("/quit")[2]
    assert "nonsense" in result.complaint
    requests = run.backends[-1].requests
    assert requests[0].ids == requests[1].ids, "a retry asks the same again"
    assert "hi" not in run.prompts[-1] and run.prompts[-1].startswith("<|system|>Be kind.")
    assert requests[0].params().temperature == 0.5


def test_ctrl_c_stops_the_reply_and_the_chat_goes_on(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.script.replies = ["word " * 5000, "Second."]
    run.script.token_s = 0.002
    real = safe_writer.SafeWriter.write
    sent = threading.Event()

    def write(self: safe_writer.SafeWriter, piece: str) -> None:
        real(self, piece)
        if "word" in piece and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(safe_writer.SafeWriter, "write", write)
    result = run("--plain", stdin="go on\nnext\n")
    assert sent.is_set() and result.code == 0
    assert "(stopped)\n" in result.out and result.out.endswith("Assistant: Second.\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_in_a_row_ends_the_chat() -> None:
    answers = iter([KeyboardInterrupt, "hello", KeyboardInterrupt, KeyboardInterrupt])

    def read(_: str) -> str:
        answer = next(answers)
        if answer is KeyboardInterrupt:
            raise KeyboardInterrupt
        return str(answer)

    shown: list[str] = []
    prompts = plain.typed_prompts(read, shown.append)
    assert next(prompts) == "hello"
    assert "again" in "".join(shown)
    with pytest.raises(KeyboardInterrupt):
        next(prompts)


@given(
    st.lists(st.text(st.sampled_from("ab\r\n\x1b[31m\u202e\u0301\u0300\u200d é")), max_size=12),
)
def test_pieces_are_shown_as_the_whole_would_be(pieces: list[str]) -> None:
    stream = io.StringIO()
    writer = safe_writer.SafeWriter(stream, is_terminal=True)
    for piece in pieces:
        writer.write(piece)
    text = "".join(pieces)
    held = "\r" if text.endswith("\r") else ""
    assert stream.getvalue() == safe_text(text.removesuffix(held) if held else text)


@given(st.lists(st.text(max_size=8), max_size=8))
def test_a_pipe_gets_the_exact_text(pieces: list[str]) -> None:
    stream = io.StringIO()
    writer = safe_writer.SafeWriter(stream, is_terminal=False)
    for piece in pieces:
        writer.write(piece)
    assert stream.getvalue() == "".join(pieces)
    writer.end_line()
    assert not stream.getvalue() or stream.getvalue().endswith("\n")
