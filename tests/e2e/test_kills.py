"""The real program, killed at random moments of a reply: a few of the kills of the benchmark."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.kills import kill_once, questions_saved, summary

KILLS = 8


def test_random_kills_cost_the_end_of_a_reply_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUI_CHAT_TURBO", "false")
    chance = random.Random(8)
    questions = [f"Question {number}?" for number in range(KILLS)]
    results = [kill_once(tmp_path, q, chance.uniform(0.0, 0.8)) for q in questions]
    figures = summary(results, questions_saved(tmp_path, questions))
    assert figures["sound"] == KILLS
    assert figures["questions_lost"] == 0
    assert figures["within"] == KILLS, results
