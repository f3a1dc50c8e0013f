"""Processes that are killed, run out of space, or run at the same time."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.storage.writing import until
from tui_chat.chat.conversation import Conversation
from tui_chat.storage.database.connection import connect
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.storage.database.writing import TranscriptStore
from tui_chat.storage.saving.writer import TranscriptWriter

ROOT = Path(__file__).parents[2]

STREAMING = """
    import sys, time
    from pathlib import Path
    from tui_chat.chat.conversation import Conversation
    from tui_chat.storage.saving.writer import TranscriptWriter

    writer = TranscriptWriter(Path(sys.argv[1])).start()
    chat = Conversation("chat")
    turn = 0
    while True:
        question = chat.append("user", f"Question {turn}?")
        reply = chat.append("assistant", "", status="streaming")
        writer.save_header(chat)
        writer.save_message(chat.id, question)
        assert writer.wait_saved(writer.save_message(chat.id, reply), 30)
        print("asked", turn, flush=True)
        for number in range(20):
            reply = chat.update(reply.id, text=reply.text + f"{turn}.{number} ")
            saved = writer.checkpoint(chat.id, reply)
            if number % 5 == 4:
                saved.result(30)
                print("streamed", turn, number, flush=True)
        writer.save_message(chat.id, chat.update(reply.id, status="complete"))
        turn += 1
"""


def program(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def is_sound(path: Path) -> bool:
    connection = connect(path)
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    finally:
        connection.close()


@pytest.mark.parametrize("run", range(6))
def test_a_killed_program_loses_nothing_that_was_saved(database: Path, run: int) -> None:
    with killed_at_the_end(program(STREAMING, database)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked 0\n"
        time.sleep(random.Random(run).uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        told = "asked 0\n" + process.stdout.read()
    with TranscriptWriter(database) as writer:
        assert writer.flush(30)
        assert writer.notices == ()
        with writer.reader() as reader:
            chat = reader.load("chat")
    assert is_sound(database)
    messages = list(chat.messages())
    for line in told.rpartition("\n")[0].splitlines():  # the kill can cut the last one
        kind, turn, *rest = line.split()
        assert messages[2 * int(turn)].text == f"Question {turn}?"
        if kind == "streamed":
            assert f"{turn}.{rest[0]} " in messages[2 * int(turn) + 1].text
    assert all(not message.is_unfinished for message in messages)


def test_a_living_program_keeps_its_reply_and_a_killed_one_leaves_it_interrupted(
    database: Path,
) -> None:
    script = """
        import sys
        from pathlib import Path
        from tui_chat.chat.conversation import Conversation
        from tui_chat.storage.database.writing import TranscriptStore

        store = TranscriptStore(Path(sys.argv[1]))
        chat = Conversation("chat")
        chat.append("assistant", "Once upon", status="streaming")
        with store.change():
            store.save_conversation(chat)
        print("ready", flush=True)
        sys.stdin.read()
    """
    with killed_at_the_end(program(script, database)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with TranscriptStore(database) as store:
            assert store.recover_interrupted() == 0
            assert store.load("chat").path()[0].status == "streaming"
    with TranscriptStore(database) as store:
        assert store.recover_interrupted() == 1
        assert store.load("chat").path()[0].text == "Once upon"


def test_a_file_that_may_not_grow_keeps_the_program_and_its_changes_alive(
    database: Path,
) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from tui_chat.chat.conversation import Conversation
        from tui_chat.storage.saving.writer import TranscriptWriter

        writer = TranscriptWriter(Path(sys.argv[1]), backoff=(0.01, 0.05)).start()
        assert writer.flush(30)
        size = Path(sys.argv[1]).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, resource.RLIM_INFINITY))
        chat = Conversation("chat")
        for number in range(40):
            chat.append("user", f"{number} " + "long " * 400)
        writer.save_conversation(chat)
        while writer.state.ok:
            assert not writer.flush(0.3)
        print(writer.state.ok, writer.state.pending, writer.state.detail, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert writer.flush(30)
        print(writer.state.ok, writer.state.pending, writer.close(), flush=True)
    """
    with killed_at_the_end(program(script, database)) as process:
        output, _ = process.communicate(timeout=60)
    first, second = output.splitlines()
    assert first.startswith("False 41 Not saved yet: the disk")
    assert second == "True 0 None"
    assert is_sound(database)
    with read_transcripts(database) as reader:
        assert len(reader.load("chat")) == 40


def test_a_program_killed_while_the_disk_is_full_leaves_its_changes_to_the_next(
    database: Path,
) -> None:
    script = """
        import sqlite3, sys
        from pathlib import Path
        from tests.storage.faults import failing_connection, sqlite_error
        from tui_chat.chat.conversation import Conversation
        from tui_chat.storage.saving.writer import TranscriptWriter

        full = []
        factory = failing_connection(lambda *_: full[0] if full else None)
        writer = TranscriptWriter(Path(sys.argv[1]), backoff=(0.01, 0.05), factory=factory).start()
        assert writer.flush(30)
        full.append(sqlite_error(sqlite3.SQLITE_FULL))
        chat = Conversation("chat")
        chat.append("user", "Do not forget me.")
        writer.save_conversation(chat)
        assert not writer.flush(0.3)
        print("full", flush=True)
        sys.stdin.read()
    """
    with killed_at_the_end(program(script, database)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
        until(lambda: any(database.parent.glob("tui-chat-unsaved*.json")))
    with TranscriptWriter(database) as writer:
        assert writer.flush(30)
        assert [notice.kind for notice in writer.notices] == ["imported"]
        with writer.reader() as reader:
            assert reader.load("chat").path()[0].text == "Do not forget me."


def test_three_programs_that_write_at_once_lose_nothing_and_show_no_lock(
    database: Path,
) -> None:
    script = """
        import sys
        from pathlib import Path
        from tui_chat.chat.conversation import Conversation
        from tui_chat.storage.saving.writer import TranscriptWriter

        states = []
        writer = TranscriptWriter(Path(sys.argv[1]), on_state=states.append).start()
        chat = Conversation(sys.argv[2])
        for number in range(60):
            writer.save_message(chat.id, chat.append("user", str(number)))
            writer.save_header(chat).result(30)
        assert all(state.ok for state in states), states
        assert writer.close(30) is None
    """
    names = ["one", "two", "three"]
    processes = [program(script, database, name) for name in names]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert is_sound(database)
    with read_transcripts(database) as reader:
        for name in names:
            texts = [message.text for message in reader.load(name).path()]
            assert texts == [str(number) for number in range(60)]


def test_a_chat_open_in_two_programs_keeps_what_both_say(database: Path) -> None:
    with TranscriptWriter(database) as first, TranscriptWriter(database) as second:
        chat = Conversation("chat")
        question = chat.append("user", "Who?")
        assert first.wait_saved(first.save_conversation(chat), 30)
        with second.reader() as reader:
            same = reader.load("chat")
        mine = chat.append("assistant", "Me.")
        theirs = same.append("assistant", "You.")
        first.save_conversation(chat)
        second.save_conversation(same)
        assert first.flush(30)
        assert second.flush(30)
        with first.reader() as reader:
            both = reader.load("chat")
    assert {m.text for m in both.children(question.id)} == {mine.text, theirs.text}
