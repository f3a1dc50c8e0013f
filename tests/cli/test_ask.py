"""`ask`: one reply on stdout."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tui_chat.chat.events import Failed
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.terminal import ending

KEYS = [
    "text", "finish_reason", "model", "precision", "device", "template", "seed", "params",
    "prompt_tokens", "reused_tokens", "completion_tokens", "dropped_turns", "ttft_s",
    "decode_tokens_per_s", "chat_id", "message_id",
]  # fmt: skip


def test_the_reply_and_nothing_else_is_on_stdout(run: CommandLine) -> None:
    run.script.replies = ["One two.\nThree."]
    result = run("ask", "hi")
    assert (result.code, result.out, result.err) == (0, "One two.\nThree.\n", "")


def test_a_reply_that_ends_its_line_gets_no_second_line_break(run: CommandLine) -> None:
    run.script.replies = ["One.\n"]
    assert run("ask", "hi").out == "One.\n"


def test_stdin_comes_after_the_argument(run: CommandLine) -> None:
    run("ask", "Summarise:", stdin="a long text\n")
    assert run.prompts[-1].startswith("<|prompter|>Summarise:\n\na long text")
    run("ask", stdin="only this")
    assert "<|prompter|>only this<|endoftext|>" in run.prompts[-1]


def test_a_closed_stdin_is_no_input(run: CommandLine) -> None:
    assert run("ask", "hi", stdin=None).code == 0
    assert run("ask", stdin=None).code == 2


def test_stdin_that_is_no_text_is_refused(run: CommandLine) -> None:
    result = run("ask", stdin=b"abc\xff")
    assert result.code == 1 and "Byte 3 is not UTF-8" in result.complaint


def test_json_has_exactly_the_promised_keys(run: CommandLine) -> None:
    result = run("ask", "hi", "--json", "--set", "temperature=0", "--seed", "7")
    assert result.code == 0
    record = result.json
    assert list(record) == KEYS
    assert record["text"] == "Hello! This reply comes from a script."
    assert (record["finish_reason"], record["seed"]) == ("eos", 7)
    assert record["params"]["temperature"] == 0
    assert (record["model"], record["precision"], record["device"]) == ("guide", "bf16", "cpu")
    assert record["completion_tokens"] == 7 and record["prompt_tokens"] > 0


def test_json_does_not_let_control_characters_through(run: CommandLine) -> None:
    run.script.replies = ["\x1b]0;x\x07 \u202e \ud83d\ude00 end"]
    result = run("ask", "hi", "--json")
    assert result.out.isascii() and result.out.rstrip("\n").isprintable()


def test_a_failed_reply_is_an_error_and_prints_no_json(run: CommandLine) -> None:
    run.script.failures = {0: (1, Failed("bad_numbers", "The model broke", "NaN", "Retry"))}
    result = run("ask", "hi", "--json")
    assert (result.code, result.out) == (1, "")
    assert "The model broke" in result.complaint


def test_a_model_that_cannot_be_loaded_is_an_error(run: CommandLine) -> None:
    result = run("ask", "hi", "-m", "oasst-12b", "-p", "fp32")
    assert result.code == 1
    assert "does not fit" in result.complaint


def test_asking_is_saved_and_can_be_gone_on_with(run: CommandLine) -> None:
    first = run("ask", "My name is Ada.", "--json").json
    second = run("ask", "-c", "What is it?", "--json").json
    assert second["chat_id"] == first["chat_id"]
    assert "My name is Ada." in run.prompts[-1] and "Hello!" in run.prompts[-1]
    third = run("ask", "--continue", first["chat_id"][:8], "And again?", "--json").json
    assert third["chat_id"] == first["chat_id"]
    assert run.prompts[-1].count("<|prompter|>") == 3


def test_a_chat_that_does_not_exist_is_an_error(run: CommandLine) -> None:
    for name in ("abcdef12", "nonhex", "12345"):
        for words in (["-c", name, "hi"], ["hi", "-c", name], [f"--continue={name}", "hi"]):
            result = run("ask", *words)
            assert result.code == 1 and f"no saved chat '{name}'" in result.complaint


def test_no_save_keeps_nothing(run: CommandLine, home: Path) -> None:
    record = run("ask", "hi", "--no-save", "--json").json
    assert record["chat_id"] is None
    assert not (home / "transcripts.db").exists()


def test_the_user_message_is_on_disk_with_the_reply(run: CommandLine, home: Path) -> None:
    record = run("ask", "hi there", "--json").json
    with read_transcripts(home / "transcripts.db") as reader:
        chat = reader.load(record["chat_id"])
    assert [(m.role, m.text, m.status) for m in chat.path()] == [
        ("user", "hi there", "complete"),
        ("assistant", record["text"], "complete"),
    ]


def test_options_reach_the_request(run: CommandLine, tmp_path: Path) -> None:
    system = tmp_path / "system.txt"
    system.write_text("Be brief.")
    run(
        "ask", "hi", "--system", f"@{system}", "--set", "stop=a", "--set", "stop=b", "--set", "k=3",
        "--context", "100", "--reserve", "20",
    )  # fmt: skip
    (request,) = run.backends[-1].requests
    params = request.params()
    assert (params.stop, params.top_k, request.context) == (("a", "b"), 3, 100)
    assert run.prompts[-1].startswith("<|system|>Be brief.<|endoftext|>")


def test_a_system_file_that_is_missing_is_an_error(run: CommandLine) -> None:
    result = run("ask", "hi", "--system", "@/no/such/file")
    assert result.code == 1 and "/no/such/file: No such file" in result.complaint


def test_a_broken_config_is_told_and_skipped(run: CommandLine, home: Path) -> None:
    (home / "config.toml").write_text("modle = 1\n[parameters]\ntemperature = 0.25\n")
    result = run("ask", "hi", "--json")
    assert result.code == 0
    assert "Did you mean model?" in result.complaint
    assert result.json["params"]["temperature"] == 0.25


def test_a_preset_of_the_config_that_does_not_exist_is_skipped(
    run: CommandLine, home: Path
) -> None:
    (home / "config.toml").write_text('preset = "mine"\n')
    result = run("ask", "hi")
    assert result.code == 0 and "no preset 'mine'" in result.complaint


@pytest.mark.parametrize("text", ["x" * 20_000, "word " * 3000])
def test_a_message_that_is_too_long_is_refused_with_its_size(run: CommandLine, text: str) -> None:
    run.script.context = 64
    result = run("ask", "--reserve", "16", stdin=text)
    if result.code == 0:
        assert len(text.split()) == 1  # one word is one token for this tokenizer
        return
    assert result.code == 1 and "too long" in result.complaint and "3" in result.complaint


def test_a_home_that_cannot_be_written_costs_only_the_saving(run: CommandLine, home: Path) -> None:
    home.rmdir()
    home.write_text("in the way")
    result = run("ask", "hi")
    assert (result.code, result.out) == (0, "Hello! This reply comes from a script.\n")
    assert result.complaint == (
        f"TUI_CHAT_HOME cannot be used: {home} is a file. Settings are not read and chats are not "
        "saved. Set it to a folder, or unset it."
    )
    assert home.read_text() == "in the way"


def test_a_system_message_that_takes_the_room_is_named(run: CommandLine) -> None:
    result = run("ask", "hi", "--system", "word " * 3000)
    assert result.code == 1 and "of the system message" in result.complaint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_a_command_in_order(number: signal.Signals) -> None:
    with pytest.raises(ending.Ended) as ended, ending.signals_raised():
        signal.raise_signal(number)
    assert ended.value.exit_code == 128 + number
