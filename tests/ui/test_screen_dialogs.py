"""Small questions: the answer that cannot hurt is near, and a link is shown for what it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.screen import Screen
from textual.widgets import Input, TextArea

from tests.ui.piece_app import until
from tests.ui.stage import HOSTILE, Stage, type_fast
from tui_chat.ui.screens.dialogs import ConfirmScreen, InputScreen, LinkScreen, MessageMenu
from tui_chat.ui.transcript.links import read_link


@pytest.mark.parametrize(
    ("keys", "answer"),
    [(("enter",), False), (("y",), True), (("n",), False), (("escape",), False),
     (("left", "enter"), True), (("tab", "tab", "enter"), False)],
)  # fmt: skip
async def test_confirming(keys: tuple[str, ...], answer: bool) -> None:
    app = Stage()
    async with app.run_test() as pilot:
        await app.show(ConfirmScreen("Delete it?", "Delete", "Keep", "All of it."), pilot)
        await pilot.press(*keys)
        await until(pilot, lambda: app.results == [answer])


async def test_buttons_can_be_clicked() -> None:
    app = Stage()
    async with app.run_test() as pilot:
        await app.show(ConfirmScreen("Delete it?", "Delete", "Keep"), pilot)
        await pilot.click("Button")
        await until(pilot, lambda: app.results == [True])


async def test_a_text_is_kept_once_nothing_is_wrong_with_it() -> None:
    app = Stage()
    async with app.run_test() as pilot:
        screen = InputScreen(
            "Export", "a.txt", "Where to.", lambda t: "" if t.endswith(".md") else "Not .md."
        )
        await app.show(screen, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "Not .md." in app.shown())
        assert not app.results
        await pilot.press("backspace", "backspace", "backspace", "m", "d")
        await until(pilot, lambda: "Where to." in app.shown())
        await pilot.press("enter")
        await until(pilot, lambda: app.results == ["a.md"])


@pytest.mark.parametrize("is_multiline", [False, True])
async def test_keys_typed_at_once_are_all_taken(is_multiline: bool) -> None:
    app = Stage()
    async with app.run_test() as pilot:
        await app.show(InputScreen("Rename", "a", is_multiline=is_multiline), pilot)
        await until(pilot, lambda: app.screen.focused is not None)
        type_fast(app, *"bcd", "enter")
        await until(pilot, lambda: app.results == ["abcd"])


async def test_stepping_back_from_a_text_gives_none() -> None:
    app = Stage()
    async with app.run_test() as pilot:
        await app.show(InputScreen("Rename", "old"), pilot)
        assert app.screen.query_one(Input).value == "old"
        await pilot.press("x", "escape")
        await until(pilot, lambda: app.results == [None])


async def test_several_lines_are_typed_as_in_the_prompt() -> None:
    app = Stage()
    async with app.run_test() as pilot:
        await app.show(InputScreen("System", "one", is_multiline=True), pilot)
        await until(pilot, lambda: app.screen.query_one(TextArea).has_focus)
        await pilot.press("ctrl+j", "t", "w", "o", "enter")
        await until(pilot, lambda: app.results == ["one\ntwo"])


async def test_a_link_shows_its_host_and_opens_only_when_told() -> None:
    app = Stage()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show(LinkScreen("https://example.com/a?b=c"), pilot)
        assert "https://example.com/a?b=c" in app.shown()
        await pilot.press("enter")
        await until(pilot, lambda: app.results == ["open"])


async def test_a_link_that_deceives_warns_and_does_not_open_on_enter() -> None:
    app = Stage()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show(LinkScreen("https://ex\u0430mple.com/"), pilot)
        assert "xn--exmple-4nf.com" in app.shown() and "imitate" in app.shown()
        await pilot.press("enter")
        await until(pilot, lambda: app.results == [None])


@pytest.mark.parametrize(
    "url",
    ["--help", "file:///etc/passwd", "javascript:alert(1)", "vscode://x", "action:quit", "app.pwn",
     "https://a.example/\x1b]52;c;x\x07", "https://", "http://[::1", "https://a b", "", "mailto:",
     "https://exa\u202emple.com"],
)  # fmt: skip
async def test_what_is_no_web_address_is_only_copied(url: str) -> None:
    app = Stage()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show(LinkScreen(url), pilot)
        await until(pilot, lambda: "This link is not opened" in app.shown())
        await pilot.press("o")
        await until(pilot, lambda: not app.results)
        await pilot.press("c")
        await until(pilot, lambda: app.results == ["copy"])


def test_links_are_read_as_a_browser_would() -> None:
    assert read_link("https://Example.COM:8080/x").host == "example.com:8080"
    assert read_link("mailto:someone@example.com").host == "example.com"
    assert "@" in read_link("https://bank.example@evil.example/").warning
    assert read_link("http://[::1]:80/").host == "[::1]:80"


@given(st.text(max_size=80))
def test_no_link_is_opened_with_a_character_that_steers(text: str) -> None:
    for url in (text, f"https://{text}", f"mailto:{text}"):
        link = read_link(url)
        assert link.problem or (url.isprintable() and " " not in url and not url.startswith("-"))
        assert link.host.isascii()


MENU = (("state", "stopped by you"), ("model", HOSTILE))


@pytest.mark.parametrize(
    ("keys", "action"), [(("enter",), "copy"), (("down", "enter"), "edit"), (("e",), "edit"),
                         (("escape",), None), (("delete",), "delete")],
)  # fmt: skip
async def test_the_menu_of_a_message(keys: tuple[str, ...], action: str | None) -> None:
    app = Stage()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show(MessageMenu(MENU, ["copy", "edit", "delete"], "Reply"), pilot)
        await until(pilot, lambda: "› Copy" in app.shown() and "stopped by you" in app.shown())
        await pilot.press(*keys)
        await until(pilot, lambda: app.results == [action])


def dialogs() -> list[Screen[object]]:
    return [
        ConfirmScreen(HOSTILE, HOSTILE, HOSTILE, HOSTILE),
        InputScreen(HOSTILE, "value", HOSTILE),
        InputScreen(HOSTILE, HOSTILE, HOSTILE, is_multiline=True),
        LinkScreen("https://example.com/" + HOSTILE),
        MessageMenu([(HOSTILE, HOSTILE)], ["copy"], HOSTILE),
    ]


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
@pytest.mark.parametrize("index", range(5))
async def test_hostile_texts_are_text(index: int, size: tuple[int, int]) -> None:
    app = Stage()
    async with app.run_test(size=size) as pilot:
        await app.show(dialogs()[index], pilot)
        await until(pilot, lambda: "[@click" in app.shown())
        assert not set("\x1b\x07\u202e\u200b") & set(app.shown())
        assert "Esc Close" in app.shown()


@pytest.mark.parametrize("theme", ["night", "terminal"])
@pytest.mark.parametrize("size", [(100, 30), (80, 24), (60, 16), (40, 12)])
async def test_the_menu_of_a_message_always_shows_its_keys(
    theme: str, size: tuple[int, int]
) -> None:
    facts = [(f"fact {n}", "value") for n in range(8)]
    actions = ["copy", "code_block", "edit", "retry_message", "continue", "sibling_previous",
               "sibling_next", "delete", "undo"]  # fmt: skip
    app = Stage(theme)
    async with app.run_test(size=size) as pilot:
        await app.show(MessageMenu(facts, actions, "Reply"), pilot)
        await until(pilot, lambda: "Enter Do it" in app.shown() and "Esc Close" in app.shown())
        for label in ("Code block", "Edit", "Retry"):
            await pilot.press("down")
            await until(pilot, lambda label=label: f"› {label}" in app.shown())
        await pilot.press("end")
        await until(pilot, lambda: "› Undo" in app.shown())
        assert "Reply" in app.shown() and "Enter Do it" in app.shown()
