"""`transcripts export` and `import`, as a user types them."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.marks import ChatDetails, Marks
from tui_chat.config import paths
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.formats.table import FORMATS

Save = Callable[..., Conversation]


@pytest.fixture
def save(run: CommandLine) -> Save:
    """Saves a chat in which two replies are rated."""

    def make(word: str = "rivers", **details: object) -> Conversation:
        chat = Conversation(title=word, system="Be brief.")
        prompt = chat.append("user", f"Tell me of {word} \x1b[31m")
        for rating in (-1, 1):
            reply = chat.add_child(prompt.id, "assistant", f"{word} {rating}", model="guide")
            chat.update(reply.id, marks=Marks(rating=rating))
        chat.details = ChatDetails(**details)  # type: ignore[arg-type]  # any of its fields
        with TranscriptStore(paths.database_file()) as store, store.change():
            store.save_conversation(chat)
        return chat

    return make


@pytest.mark.parametrize("form", list(FORMATS))
def test_every_format_goes_to_stdout_and_to_files(
    run: CommandLine, save: Save, tmp_path: Path, form: str
) -> None:
    chat = save()
    printed = run("transcripts", "export", chat.id, "--format", form)
    assert printed.code == 0 and "rivers" in printed.out
    for suffix in (FORMATS[form].suffixes[0], FORMATS[form].suffixes[0] + ".gz"):
        path = tmp_path / f"chat{suffix}"
        result = run("transcripts", "export", "last", "-o", str(path))
        assert result.out == f"{path}\n" and result.err == ""
        data = path.read_bytes()
        text = gzip.decompress(data).decode() if suffix.endswith(".gz") else data.decode()
        assert text == printed.out


def test_a_chat_moves_to_another_home(
    run: CommandLine, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = [save("rivers"), save("lakes")]
    backup, trees = str(tmp_path / "all.json"), str(tmp_path / "all.jsonl.gz")
    assert run("transcripts", "export", "--all", "-o", backup).code == 0
    assert run("transcripts", "export", "--all", "--format", "oasst", "-o", trees).code == 0
    before = [run("transcripts", "export", c.id, "--format", "json").out for c in chats]
    monkeypatch.setenv("TUI_CHAT_HOME", str(tmp_path / "other"))
    result = run("transcripts", "import", backup)
    assert (result.code, result.err) == (0, "")
    assert result.out == "Imported 2 chats with 6 messages\n"
    assert [run("transcripts", "export", c.id, "--format", "json").out for c in chats] == before
    again = run("transcripts", "import", backup, trees, "--json").json
    assert again == {"imported": 2, "messages": 6, "unchanged": 2, "skipped": []}
    assert run("transcripts", "import", trees, "--json").json["unchanged"] == 2


def test_a_taken_id_is_not_overwritten(run: CommandLine, save: Save, tmp_path: Path) -> None:
    chat = save()
    path = tmp_path / "chat.json"
    run("transcripts", "export", chat.id, "-o", str(path))
    path.write_text(path.read_text().replace("Be brief.", "Be long."))
    assert run("transcripts", "import", str(path), "--json").json["imported"] == 1
    listed = run("transcripts", "list", "--json").json
    assert len({c["id"] for c in listed}) == 2
    run("transcripts", "delete", chat.id)
    path.write_text(path.read_text().replace("Be long.", "Be brief."))
    assert run("transcripts", "import", str(path), "--json").json["unchanged"] == 1
    assert run("transcripts", "show", chat.id).code == 0, "it is back"


def test_problems_are_told_by_line_and_the_rest_is_imported(
    run: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "dump.jsonl"
    good = {"message_tree_id": "r", "prompt": {"message_id": "r", "text": "Hi", "role": "prompter"}}
    path.write_text(f'{json.dumps(good)}\n{{"a": "\x9b31m"}}\n[\n')
    result = run("transcripts", "import", str(path), "--json")
    assert result.code == 0 and result.err == ""
    assert (result.json["imported"], result.json["messages"]) == (1, 1)
    assert [problem["line"] for problem in result.json["skipped"]] == [2, 3]
    told = run("transcripts", "import", str(path))
    assert told.out == "Imported 0 chats with 0 messages; 1 was here before; 2 problems\n"
    first, second = told.err.splitlines()
    assert f"{path}, line 2: It is no chat" in first and "line 3" in second
    path.write_text("{}\n")
    assert run("transcripts", "import", str(path)).code == 1
    missing = run("transcripts", "import", str(tmp_path / "no"))
    assert missing.code == 1 and "No such file" in missing.complaint
    assert run("transcripts", "import", str(path), "--format", "pdf").code == 2


def test_opted_out_chats_never_leave_for_training(
    run: CommandLine, save: Save, tmp_path: Path
) -> None:
    secret, open_chat = save("secret", allow_data_use=False), save("lakes")
    for name, form in FORMATS.items():
        result = run("transcripts", "export", secret.id, "--format", name)
        assert result.code == form.is_training
        if form.is_training:
            assert result.out == "" and "data use" in result.complaint
            every = run("transcripts", "export", "--all", "--format", name)
            assert "secret" not in every.out and "lakes" in every.out
            assert "data use" in every.complaint
    refused = run("transcripts", "export", open_chat.id, "--format", "oasst", "--as-training")
    assert refused.code == 1 and "reviewed" in refused.complaint


@pytest.mark.parametrize("form", [f.name for f in FORMATS.values() if f.is_training] + ["json"])
def test_a_filter_chooses_chats_as_a_search_does(
    run: CommandLine, save: Save, tmp_path: Path, form: str
) -> None:
    for word, tags in (("rivers", ("water",)), ("lakes", ("water", "deep")), ("hills", ())):
        save(word, tags=tags)

    def exported(*words: str) -> set[str]:
        result = run("transcripts", "export", "--format", form, *words)
        assert (result.code, result.err) == (0, "")
        return {word for word in ("rivers", "lakes", "hills") if word in result.out}

    assert exported("--filter", "tag:water") == {"rivers", "lakes"}
    assert exported("--all", "--filter", "tag:water -1 lakes") == {"lakes"}
    assert exported("--filter", "rated:up role:assistant hills") == {"hills"}
    assert exported("--all") == {"rivers", "lakes", "hills"}
    path = tmp_path / "out"
    for text, code, says in (
        ("tag:dry", 1, "No saved chat matches"), ("tga:water", 2, "Did you mean tag:"),
        ("before:soon", 2, "needs a day"), ("...", 2, "nothing to filter by"),
    ):  # fmt: skip
        result = run("transcripts", "export", "--format", form, "--filter", text, "-o", str(path))
        assert (result.code, result.out) == (code, "") and says in result.complaint
        assert run("transcripts", "export", "--format", form, "--filter", text).out == ""
    assert not path.exists()


def test_wrong_usage(run: CommandLine, save: Save, tmp_path: Path) -> None:
    save()
    for words in (
        [], ["last", "--all"], ["--all"], ["--all", "--format", "html"],
        ["last", "--filter", "x"], ["--filter", "rivers"], ["--filter", "x", "--format", "html"],
        ["last", "--format", "oasst", "--lang", "x y"],
        ["last", "--format", "md", "--anonymize", "s"], ["last", "--format", "pdf"],
    ):  # fmt: skip
        assert run("transcripts", "export", *words).code == 2, words
    blank = Conversation()
    with TranscriptStore(paths.database_file()) as store, store.change():
        store.save_conversation(blank)
    empty = run("transcripts", "export", blank.id, "-o", str(tmp_path / "a.openai.jsonl"))
    assert empty.code == 1 and "no finished reply" in empty.complaint
    assert not (tmp_path / "a.openai.jsonl").exists()


def test_a_terminal_gets_a_bar_and_no_control_characters(
    run: CommandLine, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = save("\x1b]0;x\x07")
    path = tmp_path / "chat.md"
    run("transcripts", "export", chat.id, "-o", str(path))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "\x1b" not in run("transcripts", "export", "--all", "--format", "chatml").out
    imported = run("transcripts", "import", str(path))
    assert imported.out == "Imported 1 chat with 2 messages\n"
    assert "\x1b]0" not in imported.err


def test_a_damaged_file_gives_what_came_before(run: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    lines = [
        json.dumps({"messages": [{"role": "user", "content": f"{n}"}], "n": str(n) * 500})
        for n in range(300)
    ]
    data = gzip.compress("\n".join(lines).encode())
    path.write_bytes(data[: len(data) // 2])
    result = run("transcripts", "import", str(path), "--json")
    assert result.code == 1 and 0 < result.json["imported"] < 300
    (problem,) = result.json["skipped"]
    assert problem["line"] is None and "damaged" in problem["reason"]


def test_no_imported_id_names_another_file_or_chat(run: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "ids.jsonl"
    names = ["../../evil", "last", "\x1b[31mred", "-o", "fine-1"]
    prompts = [{"message_id": name, "text": "Hi", "role": "prompter"} for name in names]
    trees = [{"message_tree_id": p["message_id"], "prompt": p} for p in prompts]
    path.write_text("\n".join(map(json.dumps, trees)))
    assert run("transcripts", "import", str(path), "--json").json["imported"] == 5
    assert run("transcripts", "import", str(path), "--json").json["unchanged"] == 5
    listed = {chat["id"] for chat in run("transcripts", "list", "--json").json}
    assert "fine-1" in listed and all(re.fullmatch("[0-9a-f]{32}", i) for i in listed - {"fine-1"})
    exported = run("transcripts", "export", "--all", "--format", "oasst").out.splitlines()
    assert {json.loads(line)["message_tree_id"] for line in exported} == set(names)


PAGE = Path(__file__).resolve().parents[2] / "docs" / "training-data.md"


def test_every_command_of_the_page_works(
    run: CommandLine, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save("lakes", tags=("water",))
    save("rivers", reviewed=True)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 12
    for command in commands:
        program, *words = shlex.split(command)
        result = run(*words)
        assert (program, result.code, result.err) == ("tui-chat", 0, ""), command
        assert "-o" not in words or (tmp_path / words[-1]).stat().st_size > 0
    for form in FORMATS:
        assert f"`{form}`" in PAGE.read_text("utf-8") or f"--format {form}" in " ".join(commands)
