"""Measures the speed and memory of a model on this machine: a table to read, and a line of JSON.

The measurements use the backend, prompts and events of the chat itself. Scripts in `benchmarks/`
compare with other programs.
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
