"""Speed and memory of a model on this machine: a table for people, one JSON line for programs.

Measures the very path of the chat, the same backend, prompts and events. Refuses to compare with
other programs; scripts in `benchmarks/` do that.
"""

from tui_chat.bench.decode_paths import PATHS, parse_paths
from tui_chat.bench.figures import (
    DEFAULT_CONTEXT,
    FILLER,
    GREEDY,
    BenchOptions,
    BenchRun,
    ChatFigures,
    ContextFigures,
    FreshRead,
    Turn,
)
from tui_chat.bench.measuring import measure
from tui_chat.bench.plot import check_plot_file, plot
from tui_chat.bench.report import report

__all__ = [
    "DEFAULT_CONTEXT",
    "FILLER",
    "GREEDY",
    "PATHS",
    "BenchOptions",
    "BenchRun",
    "ChatFigures",
    "ContextFigures",
    "FreshRead",
    "Turn",
    "check_plot_file",
    "measure",
    "parse_paths",
    "plot",
    "report",
]
