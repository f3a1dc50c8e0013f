"""Two sessions on one database: a chat that is open in one is read-only in the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_session import SLOW, Run, running, wait_until
from tui_chat.engine.contract.scripted import Script
from tui_chat.errors import BusyError
from tui_chat.session import StorageNotice
from tui_chat.storage.database.reading import read_transcripts


def notices(run: Run) -> list[str]:
    return [e.notice.kind for e in run.events if isinstance(e, StorageNotice)]


def say(run: Run, text: str) -> None:
    """Say something and have it and the reply on the disk."""
    run.say(text)
    assert run.writer is not None and run.writer.flush(20)


def open_last(run: Run) -> None:
    run.session.open_chat(run.session.load_chat("last"))


def test_a_chat_that_is_open_elsewhere_can_be_read_and_not_changed(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with running(database=database) as first, running(database=database) as second:
        say(first.ready(), "Mine?")
        second.ready()
        open_last(second)
        session = second.session
        assert session.is_read_only and not first.session.is_read_only
        assert notices(second) == ["in use"]
        assert second.texts() == first.texts()
        before = list(session.conversation.messages())
        user, reply = (m.id for m in session.messages())
        for change in (
            lambda: session.send("Yours?"),
            lambda: session.regenerate(),
            lambda: session.edit(user, "Changed"),
            lambda: session.edit(reply, "Changed"),
            lambda: session.continue_reply(reply),
            lambda: session.flip(reply, 1),
            lambda: session.delete(user),
            lambda: session.go_to(user),
            lambda: session.undo(),
            lambda: session.redo(),
            lambda: session.rate(reply, 1),
            lambda: session.pin(user),
            lambda: session.exclude(user),
            lambda: session.name_branch(user, "Mine"),
            lambda: session.set_details(archived=True),
            lambda: session.set_system("Be rude."),
            lambda: session.rename_chat(session.conversation.id, "Yours"),
            lambda: session.delete_chat(session.conversation.id),
        ):
            with pytest.raises(BusyError) as refusal:
                change()
            assert "open in another window" in refusal.value.one_line
            assert "Close it there" in refusal.value.hint
        assert list(session.conversation.messages()) == before
        assert session.conversation.system == ""
        session.switch_precision("fp32")
        second.ready()
        session.set_param("temperature", 0.5)
        session.keep_draft("Typed here")
        assert first.say("Still mine?")
        assert first.writer.flush(20)
        with read_transcripts(database) as reader:
            saved = reader.load(session.conversation.id)
        assert len(saved) == 4 and saved.working == first.session.conversation.working
        copy = session.fork(reply)
        assert not session.is_read_only and session.conversation is copy
        assert second.say("Yours now?") and len(copy) == 4


def test_a_new_chat_goes_on_and_the_old_one_is_free_when_it_is_left(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with running(database=database) as first, running(database=database) as second:
        say(first.ready(), "Mine?")
        second.ready()
        open_last(second)
        second.session.new_chat()
        assert not second.session.is_read_only
        assert second.say("Something else")
        chat_id = first.session.conversation.id
        first.session.new_chat()
        assert first.writer.flush(20)

        def is_ours() -> bool:
            second.session.open_chat(second.session.load_chat(chat_id))
            return not second.session.is_read_only

        wait_until(is_ours)
        assert second.say("Now mine") and len(second.texts()) == 4
        late: list[object] = []
        second.session.subscribe(late.append)
        assert late == []


def test_a_chat_that_is_left_in_the_middle_of_a_reply_is_free_when_that_is_saved(
    tmp_path: Path,
) -> None:
    database = tmp_path / "t.db"
    with (
        running(Script(**SLOW), database) as first,
        running(database=database) as second,
    ):
        first.ready()
        first.session.send("One")
        first.session.send("Two")
        chat_id = first.session.conversation.id
        wait_until(lambda: first.session.state == "decoding")
        first.session.new_chat()

        def is_ours() -> bool:
            second.session.open_chat(second.session.load_chat(chat_id))
            return not second.session.is_read_only

        wait_until(is_ours)
        assert not any(m.is_unfinished for m in second.session.conversation.messages())


def test_a_chat_is_free_when_the_program_has_ended(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with running(database=database) as first:
        say(first.ready(), "Mine?")
    with running(database=database) as second:
        second.ready()
        open_last(second)
        assert not second.session.is_read_only and notices(second) == []
    assert [path.name for path in tmp_path.iterdir()].count("t.db.open") == 0


def test_a_chat_that_is_read_only_from_the_start_is_told_to_who_comes_later(
    tmp_path: Path,
) -> None:
    database = tmp_path / "t.db"
    with running(database=database) as first, running(database=database) as second:
        say(first.ready(), "Mine?")
        open_last(second)
        heard: list[object] = []
        second.session.subscribe(heard.append)
        assert [e.notice.kind for e in heard if isinstance(e, StorageNotice)] == ["in use"]


def test_nothing_is_taken_where_nothing_is_saved() -> None:
    with running() as run:
        run.ready().say("Mine?")
        run.session.open_chat(run.session.conversation)
        assert not run.session.is_read_only
        run.session.delete_chat(run.session.conversation.id)


def test_a_chat_can_be_written_here_once_the_other_window_has_left_it(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with running(database=database) as first, running(database=database) as second:
        say(first.ready(), "Mine?")
        second.ready()
        open_last(second)
        session = second.session
        session.keep_draft("Typed here")
        assert session.is_read_only
        say(first, "Still mine?")
        first.session.set_system("Be brief.")
        first.session.keep_draft("Typed there")
        first.session.new_chat()
        wait_until(lambda: not session.is_read_only)
        wait_until(lambda: notices(second) == ["in use", "free"])
        assert len(second.texts()) == 4 and second.texts() == [
            m.text for m in session.load_chat(session.conversation.id).path()
        ]
        assert session.conversation.system == "Be brief."
        assert session.conversation.working["draft"] == "Typed there"
        second.say("Now mine")
        assert len(second.texts()) == 6
        first.session.open_chat(first.session.load_chat(session.conversation.id))
        assert first.session.is_read_only
        late: list[object] = []
        session.subscribe(late.append)
        assert [e.notice.kind for e in late if isinstance(e, StorageNotice)] == []


def test_what_a_program_that_died_was_writing_is_interrupted_here(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with running(Script(**SLOW), database) as first, running(database=database) as second:
        first.ready()
        reply = first.session.send("One")
        wait_until(lambda: first.session.message(reply.id).text)
        assert first.writer is not None and first.writer.flush(20)
        second.ready()
        open_last(second)
        assert second.session.is_read_only
        # The system takes the lock of a process away when it ends, however it ends.
        for lease in first.session._leases.values():
            lease.give_back()
        first.session.stop_all()
        wait_until(lambda: not second.session.is_read_only)
        assert not any(m.is_unfinished for m in second.session.messages())
        assert second.session.regenerate().role == "assistant"
        second.idle()


def test_a_chat_that_is_deleted_in_the_other_window_can_be_copied(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with running(database=database) as first, running(database=database) as second:
        say(first.ready(), "Mine?")
        second.ready()
        open_last(second)
        first.session.delete_chat(first.session.conversation.id)
        wait_until(lambda: notices(second) == ["in use", "free"])
        told = [e.notice.text for e in second.events if isinstance(e, StorageNotice)]
        assert "deleted in another window" in told[-1]
        assert second.session.is_read_only and len(second.texts()) == 2
        second.session.fork(second.session.messages()[-1].id)
        assert second.say("Go on") and not second.session.is_read_only


def test_another_chat_opened_while_waiting_is_waited_for_in_its_turn(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with running(database=database) as first, running(database=database) as second:
        say(first.ready(), "One?")
        one = first.session.conversation.id
        with running(database=database) as third:
            say(third.ready(), "Two?")
            two = third.session.conversation.id
            second.ready()
            second.session.open_chat(second.session.load_chat(one))
            second.session.open_chat(second.session.load_chat(two))
            assert second.session.is_read_only
            first.session.new_chat()
        wait_until(lambda: not second.session.is_read_only)
        assert second.session.conversation.id == two


def test_a_chat_that_was_read_before_the_other_window_left_is_read_again(tmp_path: Path) -> None:
    database = tmp_path / "t.db"
    with running(database=database) as first, running(database=database) as second:
        say(first.ready(), "Mine?")
        second.ready()
        read_early = second.session.load_chat("last")
        first.say("Still mine?")
        first.session.new_chat()
        assert first.writer is not None and first.writer.flush(20)
        wait_until(lambda: not first.session._leases)
        second.session.open_chat(read_early)
        assert not second.session.is_read_only and len(second.texts()) == 4


def test_a_found_message_of_a_chat_that_is_open_elsewhere_changes_nothing_there(
    tmp_path: Path,
) -> None:
    database = tmp_path / "t.db"
    with (
        running(Script(replies=("one", "two")), database) as first,
        running(database=database) as second,
    ):
        say(first.ready(), "Mine?")
        older = first.session.messages()[1].id
        first.session.regenerate()
        first.idle()
        assert first.writer is not None and first.writer.flush(20)
        second.ready()
        chat_id = first.session.conversation.id
        second.session.open_at(chat_id, older)
        assert second.session.is_read_only and second.texts() == ["Mine?", "one"]
        assert second.writer is not None and second.writer.flush(20)
        with read_transcripts(database) as reader:
            assert [m.text for m in reader.load(chat_id).path()] == ["Mine?", "two"]
