"""What is typed to search is a query that the index takes, or one clear mistake."""

from __future__ import annotations

import sqlite3
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.chat.matching import places, snippet
from tui_chat.chat.query import LONGEST, Query, Term, parse_query
from tui_chat.errors import UsageError
from tui_chat.storage.database.connection import transaction
from tui_chat.storage.database.migrations import migrate
from tui_chat.storage.database.search import search

_pieces = st.sampled_from(
    ['"', "*", ":", "model:", "role:user", "before:2026-01-01", "after:", "rated:up", "tag:", "x",
     "is:archived", "AND", "OR", "NOT", "NEAR(", ")", "^", "-", "+", "{a b}", "\0", "\ud800", " ",
     "é", "漢字", "\ue000", "text:", "'", "a" * 50, "0999-99-99", "before:0001-01-01",
     "after:9999-12-31"]
)  # fmt: skip
typed = st.lists(_pieces | st.text(st.characters(exclude_categories=()), max_size=8)).map("".join)


@pytest.fixture(scope="module")
def connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    migrate(connection, None, date.today())  # type: ignore[arg-type]  # dates no file here
    with transaction(connection):
        connection.execute("INSERT INTO chats (id, created, updated) VALUES ('c', '2026', '2026')")
        connection.execute(
            "INSERT INTO messages (chat_id, id, role, created, status, text) VALUES"
            " ('c', 'm', 'user', '2026-01-01T00:00:00.000000+00:00', 'complete', 'x é a 漢字')"
        )
    return connection


@given(text=typed, is_typing=st.booleans())
def test_whatever_is_typed_is_a_query_or_a_usage_error(
    connection: sqlite3.Connection, text: str, is_typing: bool
) -> None:
    try:
        query = parse_query(text, is_typing)
    except UsageError as error:
        assert error.title and error.one_line.isprintable()
        return
    for found in search(connection, query):
        assert all(0 <= start < end <= len(found.snippet) for start, end in found.ranges)


def test_words_phrases_and_filters_are_told_apart() -> None:
    query = parse_query(
        'grey "long legs" model:oasst role:user after:2026-03-01 before:2026-04-01 rated:any'
        ' tag:work tag:"two words" is:archived her*on her*'
    )
    assert query == Query(
        (Term("grey"), Term("long legs"), Term("her*on"), Term("her", True)), "oasst", "user",
        date(2026, 4, 1), date(2026, 3, 1), "any", ("work", "two words"), True,
    )  # fmt: skip
    assert query.match == '"grey" "long legs" "her*on" "her"*'


def test_only_the_word_under_the_cursor_may_go_on() -> None:
    assert parse_query("grey her", is_typing=True).terms == (Term("grey"), Term("her", True))
    assert parse_query("grey her ", is_typing=True).terms[-1] == Term("her")
    assert parse_query('"grey her', is_typing=True).terms == (Term("grey her"),)
    assert parse_query("grey her").terms[-1] == Term("her")


def test_what_has_no_letters_asks_for_nothing() -> None:
    assert not parse_query('  ... "" --- ')
    assert parse_query("12:30 note: c++").terms == (Term("12:30"), Term("note:"), Term("c++"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rol:user", "There is no filter 'rol': Did you mean role:?"),
        ("https://example.org", "There is no filter 'https'"),
        ("role:king", "role: cannot be 'king'"),
        ("before:yesterday", "'yesterday' is none"),
        ("after:2026-02-30", "'2026-02-30' is none"),
        ("rated:good", "rated:up, rated:down or rated:any"),
        ("is:open", "Write is:archived"),
        ("herons tag:", "The filter tag: has no value"),
        ('model:""', "The filter model: has no value"),
        ("role:user role:user", "is there twice"),
        ("a" * (LONGEST + 1), "too long"),
        ("a " * 80, "too many words"),
    ],
)
def test_a_mistake_is_one_clear_line(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_query(text)
    assert says in caught.value.one_line


def marked(text: str, query: str, **options: int) -> str:
    """A snippet with its ranges in brackets."""
    shown = snippet(text, parse_query(query, is_typing=True).terms, **options)
    result, at = "", 0
    for start, end in shown.ranges:
        result += shown.text[at:start] + "[" + shown.text[start:end] + "]"
        at = end
    return result + shown.text[at:]


def test_a_snippet_shows_where_most_of_the_words_are() -> None:
    assert marked("Grey herons, Cafés", "heron") == "Grey [herons], Cafés"
    assert marked("Grey herons, Cafés", "CAFES ") == "Grey herons, [Cafés]"
    assert marked("Grey herons", "her ") == "Grey herons"
    assert marked("The snow-white egret", '"snow white"') == "The [snow-white] egret"
    text = "alone grey. " + "filler " * 100 + "grey herons stand " + "filler " * 100
    shown = marked(text, "grey herons", width=60)
    assert "[grey] [herons] stand" in shown and shown.startswith("…") and shown.endswith("…")


@given(text=st.text(max_size=300), query=typed)
def test_ranges_lie_in_the_snippet_and_do_not_overlap(text: str, query: str) -> None:
    try:
        terms = parse_query(query, is_typing=True).terms
    except UsageError:
        return
    shown = snippet(text, terms, width=40)
    ends = [0]
    for start, end in shown.ranges:
        assert ends[-1] <= start < end <= len(shown.text)
        ends.append(end)
    for (start, end), index in places(text, terms):
        assert 0 <= start < end <= len(text) and index < len(terms)
