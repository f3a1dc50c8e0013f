"""Prints the figures: a table with a column for each path, and a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tui_chat.bench.figures import BenchRun, ChatFigures
from tui_chat.chat.model_size import format_bytes


def report(runs: Sequence[BenchRun], as_json: bool) -> None:
    """Print a table, then one line of JSON.

    Args:
        runs: The figures of each path, at least one.
        as_json: Whether to leave out the table.
    """
    line = json.dumps([run.record() for run in runs])
    if as_json:
        print(line)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, *values in zip(*(_rows(run) for run in runs), strict=True):
        table.add_row(name[0], *(value[1] for value in (name, *values)))
    Console().print(table)
    print(line)


def _rows(run: BenchRun) -> list[tuple[str, str]]:
    """Return names and values of the table, in the same order for every run."""
    rows = [
        ("path", run.path),
        ("model", f"{run.model} {run.precision} on {run.device}"),
        ("tokens", f"{run.context - run.new_tokens} read, {run.new_tokens} written"),
        ("load", f"{run.load_s:.2f} s"),
        ("time to first token", _milliseconds(run.ttft_s)),
        ("prefill", f"{run.prefill_tokens_per_s:.0f} tok/s"),
        ("decode", f"{run.decode_tokens_per_s:.1f} tok/s"),
        ("weights", format_bytes(run.weight_bytes)),
        ("peak memory", format_bytes(run.peak_bytes)),
        (
            "read for each token",
            f"{format_bytes(run.bytes_per_token)}, {run.bandwidth_share:.1%} of the "
            f"{format_bytes(int(run.read_bandwidth))}/s this machine reads",
        ),
    ]
    rows += [
        (f"decode, context {one.context}", f"{one.decode_tokens_per_s:.1f} tok/s")
        for one in run.contexts[:-1]
    ]
    if run.turns:
        rows += _chat_rows(run, run.chat)
    return rows


def _chat_rows(run: BenchRun, chat: ChatFigures | None) -> list[tuple[str, str]]:
    """Return the rows that describe a chat."""
    last = run.turns[-1]
    turns = len(run.turns)
    rows = [
        (
            f"turn {turns} of the chat",
            f"{last.new_tokens} of {last.prompt_tokens} tokens computed, "
            f"first token after {_milliseconds(last.ttft_s)}",
        )
    ]
    if chat is not None:
        rows.append(
            (
                f"turn {chat.compared_turn}",
                f"first token after {_milliseconds(chat.turn_ttft_s)}, "
                f"{chat.turn_share:.3f} of the {_milliseconds(chat.fresh_ttft_s)} of "
                "prefilling it all",
            )
        )
    if chat is not None and chat.late_from is not None:
        assert chat.late_mean_ttft_s is not None and chat.late_worst_ttft_s is not None
        assert chat.late_fresh_mean_ttft_s is not None
        rows += [
            (
                f"turns {chat.late_from} to {turns}",
                f"mean {_milliseconds(chat.late_mean_ttft_s)}, {chat.late_mean_share or 0:.3f} "
                f"of the {_milliseconds(chat.late_fresh_mean_ttft_s)} of prefilling it all",
            ),
            (
                "the worst of them",
                f"{_milliseconds(chat.late_worst_ttft_s)}, {chat.late_worst_share or 0:.3f} "
                f"of it; {chat.trims} of {turns - chat.late_from + 1} turns were trimmed",
            ),
        ]
    return rows


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
