"""The report behind `tui-chat doctor`: machine, packages, files, settings and problems.

The engine, the storage and the settings supply the facts; this module collects and formats them. It
changes no file and loads no model.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tui_chat import __version__, logs
from tui_chat.chat.model_size import format_bytes
from tui_chat.config import layers, paths
from tui_chat.engine.files.registry import Registry, load_registry
from tui_chat.engine.machine import devices
from tui_chat.engine.machine.libraries import configure_libraries
from tui_chat.errors import ConfigError, TuiChatError
from tui_chat.safe_text import safe_text
from tui_chat.storage.database.reading import read_transcripts
from tui_chat.terminal.shell_remedies import shell_line

_PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "accelerate",
    "bitsandbytes", "torchao", "textual", "pydantic",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an examination."""

    facts: dict[str, Any]
    """Plain values by topic, as `--json` prints them."""
    problems: tuple[TuiChatError, ...]
    """The problems found, in the order in which they are printed."""

    @property
    def record(self) -> dict[str, Any]:
        """Facts and problems as one JSON value."""
        problems = [{"title": p.title, "detail": p.detail, "hint": p.hint} for p in self.problems]
        return {"ok": not problems, **self.facts, "problems": problems}


def examine(
    read_problems: Callable[[layers.LoadedSettings, Registry], Iterable[TuiChatError]],
    read_theme_problems: Callable[[], Iterable[TuiChatError]],
) -> Report:
    """Collect facts and problems about the program and this machine.

    Args:
        read_problems: Returns the problems in settings and models; supplied by the command line.
        read_theme_problems: Returns the problems in theme files; supplied by the screens.
    """
    configure_libraries()
    settings = layers.load_settings()
    registry = load_registry()
    problems = list(read_problems(settings, registry))
    home_problem = paths.home_problem()
    if home_problem is None:
        problems += read_theme_problems()
    else:
        home = paths.home()
        problems = [home_problem, *(p for p in problems if not _is_in(home, p))]
    level = logs.level_problem()
    problems += [level] if level is not None else []
    facts: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "sqlite": sqlite3.sqlite_version,
        "cpu": _asked(_cpu, problems),
        "devices": _asked(_devices, problems) or [],
        "turbo": _asked(_turbo, problems),
        "terminal": _terminal(),
        "files": _files(),
        "settings": {
            name: value
            for name, value in asdict(settings.settings).items()
            if name in settings.sources
        },
        "sources": dict(settings.sources),
        "models": sorted(registry.models),
        "default_model": registry.default,
        "chats": _asked(_chats, problems) if home_problem is None else None,
    }
    problems += _unwritable() if home_problem is None else []
    problems += _missing_default(registry)
    return Report(facts, tuple(problems))


def _is_in(home: Path | None, problem: TuiChatError) -> bool:
    """Return whether the problem concerns a file in the folder."""
    file = problem.file if isinstance(problem, ConfigError) else None
    return file is not None and home in file.parents


def _asked(question: Callable[[], Any], problems: list[TuiChatError]) -> Any:
    """Return the answer to a question; on failure, record a problem and return None."""
    try:
        return question()
    except TuiChatError as error:
        problems.append(error)
    except Exception as error:  # a broken library must not hide the other facts
        what = question.__name__.strip("_")
        problems.append(
            TuiChatError(f"The {what} could not be examined", f"{type(error).__name__}: {error}")
        )
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    features = devices.cpu_features()
    return {
        "name": features.name,
        "cores": os.cpu_count(),
        "threads": features.threads,
        "avx2": features.has_avx2,
        "avx512": features.has_avx512,
        "bf16": features.has_bf16,
    }


def _devices() -> list[dict[str, Any]]:
    found = []
    for device in devices.available_devices():
        memory = devices.device_memory(device.name)
        found.append(
            {
                "name": device.name,
                "label": device.label,
                "free_bytes": memory.free,
                "total_bytes": memory.total,
                "precisions": [
                    {
                        "name": support.precision,
                        "works": not support.reason,
                        "reason": support.reason,
                        "note": support.note,
                    }
                    for support in devices.precision_support(device.name)
                ],
            }
        )
    return found


def _turbo() -> dict[str, Any]:
    from tui_chat.engine.turbo.artefact import kept_steps
    from tui_chat.engine.turbo.requirements import compiler_problem

    problems = {d.name: compiler_problem(d.name) for d in devices.available_devices()}
    return {
        "works": not all(problems.values()),
        "reason": next(iter(problems.values())),
        "devices": [
            {"name": name, "works": not problem, "reason": problem}
            for name, problem in problems.items()
        ],
        "steps": [asdict(step) for step in kept_steps()],
    }


def _terminal() -> dict[str, Any]:
    return {
        "term": os.environ.get("TERM", ""),
        "colorterm": os.environ.get("COLORTERM", ""),
        "program": os.environ.get("TERM_PROGRAM", ""),
        "no_color": bool(os.environ.get("NO_COLOR")),
        "encoding": getattr(sys.stdout, "encoding", None) or "",
    }


def _files() -> dict[str, str]:
    return {
        "config": str(paths.config_file()),
        "models": str(paths.user_models_file()),
        "themes": str(paths.user_themes_dir()),
        "database": str(paths.database_file()),
        "log": str(paths.log_file()),
        "exports": str(paths.exports_dir()),
        "cache": str(paths.cache_dir()),
        "project_models": str(paths.project_models_file()),
        "builtin_themes": str(paths.builtin_themes_dir()),
        "guide": str(paths.guide_weights_dir()),
    }


def _chats() -> int:
    with read_transcripts(paths.database_file()) as reader:
        return len(reader.list_chats())


def _unwritable() -> list[TuiChatError]:
    """Return a problem for each folder that the program needs to write to and cannot."""
    problems: list[TuiChatError] = []
    for what, folder in (
        ("Settings", paths.config_dir()),
        ("Chats", paths.data_dir()),
        ("The log", paths.log_dir()),
    ):
        nearest = folder
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
            problems.append(
                TuiChatError(
                    f"{what} cannot be saved", f"{folder} cannot be written",
                    "Change its permissions, or set TUI_CHAT_HOME to another folder",
                )
            )  # fmt: skip
    return problems


def _missing_default(registry: Registry) -> list[TuiChatError]:
    """Return a problem if the files of the default model are missing."""
    spec = registry.models.get(registry.default)
    directory = spec.directory if spec is not None else None
    if spec is None or directory is None or (directory / "config.json").is_file():
        return []
    return [
        TuiChatError(
            f"The files of the model {spec.name} are missing", f"{directory} has no config.json",
            "Install the program again, or choose another default in models.toml",
        )
    ]  # fmt: skip


def _turbo_lines(turbo: dict[str, Any]) -> list[str]:
    """Return lines that say where turbo works and which steps have been compiled."""
    shown = ["Turbo, code that is compiled for a model while you chat"]
    for device in turbo["devices"]:
        reason = f"does not work, replies are written without it: {device['reason']}"
        shown.append(f"  {device['name']}: {'works' if device['works'] else reason}")
    for step in turbo["steps"]:
        precision = "int8" if step["is_int8"] else step["dtype"]
        refusal, size = step["refusal"], format_bytes(step["nbytes"])
        state = f"not used: {refusal}" if refusal else f"compiled, {size}"
        shown.append(f"  {step['model_type']} {precision} on {step['hardware']}: {state}")
    return shown


def lines(report: Report) -> list[str]:
    """Return the report as lines of text for people."""
    facts = report.facts
    shown = [f"tui-chat {facts['version']}, Python {facts['python']}, {facts['platform']}"]
    shown.append(
        "Packages: "
        + ", ".join(f"{name} {found or 'missing'}" for name, found in facts["packages"].items())
        + f", SQLite {facts['sqlite']}"
    )
    cpu = facts["cpu"]
    if cpu is not None:
        features = [name for name in ("avx2", "avx512", "bf16") if cpu[name]]
        shown += ["", f"CPU: {cpu['name']}, {cpu['cores']} cores, {cpu['threads']} threads"
                  + (f", {', '.join(features)}" if features else "")]  # fmt: skip
    for device in facts["devices"]:
        shown += ["", f"{device['name']}: {device['label']}, {format_bytes(device['free_bytes'])} "
                  f"of {format_bytes(device['total_bytes'])} free"]  # fmt: skip
        for precision in device["precisions"]:
            state = "works" if precision["works"] else f"does not work: {precision['reason']}"
            note = f" ({precision['note']})" if precision["note"] else ""
            shown.append(f"  {precision['name']:<5} {state}{note}")
    if facts["turbo"] is not None:
        shown += ["", *_turbo_lines(facts["turbo"])]
    shown += ["", f"Terminal: TERM={facts['terminal']['term'] or 'not set'}, "
              f"{facts['terminal']['encoding']}"]  # fmt: skip
    shown += ["", "Files"]
    shown += [f"  {name:<15} {path}" for name, path in facts["files"].items()]
    if facts["settings"]:
        shown += ["", "Settings that are not at their defaults"]
        shown += [
            f"  {name:<15} {value}  ({facts['sources'][name]})"
            for name, value in facts["settings"].items()
        ]
    shown += ["", f"{len(facts['models'])} models, the default is {facts['default_model']}; "
              f"{'no' if not facts['chats'] else facts['chats']} saved chats"]  # fmt: skip
    shown.append("")
    if report.problems:
        shown.append("Problems")
        shown += [f"  {shell_line(problem)}" for problem in report.problems]
    else:
        shown.append("No problems found.")
    return [safe_text(line).replace("\n", " ") for line in shown]
