"""`doctor`: facts, places, and problems with exit code 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tui_chat import __version__
from tui_chat.chat.known_names import PRECISIONS


def test_everything_is_fine_in_an_empty_home(run: CommandLine, home: Path) -> None:
    result = run("doctor", "--json")
    assert (result.code, result.err) == (0, "")
    record = result.json
    assert record["ok"] is True and record["problems"] == []
    assert record["version"] == __version__ and record["packages"]["torch"]
    assert record["files"]["config"] == str(home / "config.toml")
    assert record["files"]["log"] == str(home / "logs" / "tui-chat.log")
    cpu = next(d for d in record["devices"] if d["name"] == "cpu")
    assert [p["name"] for p in cpu["precisions"]] == list(PRECISIONS)
    assert all(p["works"] or p["reason"] for p in cpu["precisions"])
    assert record["default_model"] == "guide" and record["chats"] == 0
    turbo = next(d for d in record["turbo"]["devices"] if d["name"] == "cpu")
    assert turbo["works"] or turbo["reason"]


def test_the_report_for_people_names_the_same(run: CommandLine, home: Path) -> None:
    (home / "config.toml").write_text('theme = "paper"\n')
    result = run("doctor")
    assert result.code == 0
    assert str(home / "config.toml") in result.out and "fp32  works" in result.out
    assert "theme           paper  (config.toml)" in result.out
    assert result.out.endswith("No problems found.\n")


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("config.toml", "modle = 1", "Did you mean model?"),
        ("config.toml", "[broken", "config.toml could not be read"),
        ("models.toml", "defalt = 1", "Did you mean default?"),
        ("themes/mine.toml", "name = 3", "mine.toml"),
        ("transcripts.db", "no database " * 400, "transcripts.db"),
    ],
)
def test_what_is_broken_is_named_and_the_exit_code_is_1(
    run: CommandLine, home: Path, name: str, text: str, part: str
) -> None:
    path = home / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    result = run("doctor", "--json")
    assert result.code == 1
    problems = " ".join(" ".join(p.values()) for p in result.json["problems"])
    assert part in problems
    assert "1 problem found" in result.complaint
    assert path.read_text() == text, "looking changes nothing"


def test_wrong_variables_are_problems(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUI_CHAT_LOG", "loud")
    monkeypatch.setenv("TUI_CHAT_PRECISION", "fp61")
    result = run("doctor", "--json")
    titles = [p["title"] for p in result.json["problems"]]
    assert result.code == 1 and len(titles) == 2
    assert any("TUI_CHAT_LOG" in title for title in titles)
