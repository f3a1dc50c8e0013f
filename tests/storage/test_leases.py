"""Who may write to a chat: one at a time, and nobody who has ended."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.storage.test_crash import killed_at_the_end, program
from tui_chat.storage.database.leases import ChatLease, has_living_process, lease_dir, sweep


def test_a_chat_is_taken_once_until_it_is_given_back(database: Path) -> None:
    first, second = ChatLease(database, "chat"), ChatLease(database, "chat")
    assert first.take() and first.take()
    assert not second.take()
    assert ChatLease(database, "another").take()
    first.give_back()
    assert second.take()
    second.give_back()


def test_a_chat_id_is_never_a_path(database: Path) -> None:
    lease = ChatLease(database, "../../etc/\ud800\x00passwd")
    assert lease.take()
    assert [path.parent for path in lease_dir(database).iterdir()] == [lease_dir(database)]
    lease.give_back()
    assert not lease_dir(database).exists()


def test_a_folder_that_cannot_be_written_keeps_nobody_from_a_chat(database: Path) -> None:
    database.parent.mkdir()
    lease_dir(database).write_text("in the way")
    assert ChatLease(database, "chat").take()


def test_the_chat_of_a_killed_program_is_free(database: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from tui_chat.storage.database.leases import ChatLease, ProcessLease

        ProcessLease(Path(sys.argv[1])).hold()
        leases = [ChatLease(Path(sys.argv[1]), name) for name in ("chat", "another")]
        print(all(lease.take() for lease in leases), flush=True)
        sys.stdin.read()
    """
    lease = ChatLease(database, "chat")
    with killed_at_the_end(program(script, database)) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        assert not lease.take()
        assert has_living_process(database)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not has_living_process(database)
        assert lease.take()
    sweep(database)
    assert len(list(lease_dir(database).iterdir())) == 1
    lease.give_back()
    assert not lease_dir(database).exists()
