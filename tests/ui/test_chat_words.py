"""What is said beside messages and below them: times, figures, marks and the state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.ui.chat_app import NOON
from tui_chat.chat.conversation import Message
from tui_chat.chat.events import Loading, ModelInfo, Prefill, Stats
from tui_chat.ui.chat.loading_line import _of, _time_left
from tui_chat.ui.chat.status_text import LiveSpeed, Status, model_text, status_text, title_texts
from tui_chat.ui.keys.bindings import short_key
from tui_chat.ui.transcript.message_notes import mark_text, meta_text, time_text, version_text

REPLY = Message(
    "1", None, "assistant", "text", NOON, model="guide", finish_reason="eos",
    stats={"completion_tokens": 1143, "decode_tokens_per_s": 38.2, "ttft_s": 0.091},
)  # fmt: skip


def test_times_say_the_day_only_where_it_is_another() -> None:
    assert time_text(REPLY, NOON) == "12:04"
    assert time_text(REPLY, NOON + timedelta(days=1)) == "4 May 12:04"
    assert time_text(REPLY, datetime(2027, 1, 1, tzinfo=UTC)) == "4 May 2026"


def test_figures_of_a_reply() -> None:
    assert meta_text(REPLY, NOON) == "guide · 1 143 tok · 38 tok/s · 0.09 s  12:04"
    assert meta_text(REPLY, NOON, is_short=True) == "1 143 tok  12:04"
    assert meta_text(replace(REPLY, status="streaming"), NOON) == ""
    assert version_text((2, 3)) == "2/3"
    assert version_text((1, 1)) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "waiting", "text": ""}, "waits for the model"),
        ({"status": "streaming", "text": ""}, "reading 12 / 480 tok"),
        ({"status": "streaming"}, ""),
        ({"status": "stopped"}, "■ stopped at 1 143 tok, > continues, r retries"),
        ({"status": "interrupted", "text": ""}, "■ interrupted at 1 143 tok, r retries"),
        ({"status": "failed", "error": "It broke. Try again."},
         "✗ It broke. Try again. > continues, r retries"),
        ({"finish_reason": "length"}, "■ cut by the length limit at 1 143 tok, > continues"),
        ({}, ""),
    ],
)  # fmt: skip
def test_how_a_reply_ended(changes: dict[str, str], said: str) -> None:
    assert mark_text(replace(REPLY, **changes), Prefill(480, 0, 12)) == said  # type: ignore[arg-type]


def test_the_state_is_said_as_far_as_there_is_room() -> None:
    status = Status("decoding", prefill=Prefill(63, 1412), rate=38.4, first_s=0.09)
    whole = "▸   38 tok/s · reused 1 412 · new 63 · first 0.09 s"
    assert status_text(status, 80) == whole
    assert status_text(status, len(whole) - 1) == "▸   38 tok/s · reused 1 412 · new 63"
    assert status_text(status, 12) == "▸   38 tok/s"
    assert status_text(Status("empty"), 20) == "no model"
    loading = Loading("m", "fp16", "weights", 36, 100)
    assert status_text(Status("loading", loading=loading), 20) == "▸ loading  36 %"
    assert status_text(Status("prefill", prefill=Prefill(1204, 0, 512)), 40).startswith(
        "▸ reading   512 / 1 204"
    )
    last = Stats(prompt_tokens=100, reused_tokens=60, ttft_s=0.2, dropped_turns=1)
    assert status_text(Status("ready", last=last), 80) == (
        "reused 60 · new 40 · first 0.20 s · 1 turn left out"
    )


def test_live_speed_is_that_of_the_last_moments() -> None:
    speed = LiveSpeed()
    speed.begin(10.0)
    assert speed.rate == 0.0
    for step in range(1, 41):
        speed.add(2, 10.0 + step * 0.1)
    assert speed.first_s == pytest.approx(0.1)
    assert speed.rate == pytest.approx(20.0, rel=0.1)


def test_the_title_names_the_model() -> None:
    info = ModelInfo("oasst-12b", "s", "8bit", "cuda:0", "oasst", 2048, 512, 1, 1)
    assert model_text(info, "x", 12 * 1024**3, False) == "oasst-12b · 8bit · cuda:0 · 12.0 GiB"
    assert model_text(info, "x", 12 * 1024**3, True) == "oasst-12b · 8bit"
    assert model_text(None, "evil\x1b[2J", 0, False) == "evil␛[2J"


MODELS = ("guide · bf16 · cpu · 443 MiB", "guide · bf16")
FULL_DISK = "The disk is full; a copy of what is new is kept in another file"


def title_line(title: str, why: str, room: int) -> str:
    """The title line as it is shown, with two cells between its halves."""
    shown = title_texts(MODELS, title, ("not saved", why), room)
    return f"{shown.model}  {shown.title} · {shown.mark}"


def test_a_long_reason_leaves_the_title_of_the_chat_legible() -> None:
    assert title_line("New chat", "", 78) == f"{MODELS[0]}  New chat · not saved"
    assert title_line("New chat", FULL_DISK, 78) == (
        f"{MODELS[0]}  New chat · not saved: The disk is full; a copy…"
    )
    assert title_line("How do I make the answers less random?", FULL_DISK, 78) == (
        "guide · bf16  How do I make the answers less ran… · not saved: The disk is fu…"
    )
    assert title_line("How do I make the answers less random?", FULL_DISK, 50) == (
        "guide · bf16  How do I make the answe… · not saved"
    )


@given(st.text(max_size=60), st.text(max_size=80), st.integers(34, 200))
def test_the_title_line_always_fits_and_says_that_nothing_is_saved(
    title: str, why: str, room: int
) -> None:
    shown = title_texts(MODELS, title, ("not saved", why), room)
    width = cell_len(shown.model) + 2 + cell_len(shown.title) + 3 + cell_len(shown.mark)
    assert width <= room
    assert shown.mark.startswith("not saved")
    assert bool(shown.title) == bool(title)


def test_what_the_engine_does_comes_before_the_legend_and_what_it_cost_does_not() -> None:
    busy = Status("decoding", prefill=Prefill(63, 1412), rate=38.4, first_s=0.09)
    assert status_text(busy, 4, 22) == "▸   38 tok/s"
    assert status_text(Status("ready", last=Stats(100, 60)), 4, 22) == ""


def test_loading_says_bytes_in_one_unit_and_the_time_left() -> None:
    gib = 1024**3
    assert _of(int(7.9 * gib), int(22.1 * gib)) == " 7.9 of 22.1 GiB"
    assert _time_left(Loading("m", "fp16", "weights", gib, 4 * gib, 10.0)).strip() == "30 s left"
    assert _time_left(Loading("m", "fp16", "weights", gib, 4 * gib, 0.5)) == ""
    assert _time_left(Loading("m", "fp16", "weights", 1, 100, 60)).strip() == "99 min left"


def test_keys_are_written_short() -> None:
    keys = ["ctrl+o", "escape", "f1", "greater_than_sign", "alt+up", "shift+enter", "G", "ctrl+end"]
    shown = [short_key(key) for key in keys]
    assert shown == ["^O", "Esc", "F1", ">", "Alt+↑", "Shift+Enter", "G", "^End"]
