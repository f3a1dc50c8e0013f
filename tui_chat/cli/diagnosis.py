"""`doctor` and `bench`: what this machine can do, and how fast."""

from __future__ import annotations

from typing import Annotated

import typer

from tui_chat.cli import options as opt
from tui_chat.cli.output import complain, narrate, print_json, require_output
from tui_chat.cli.typed import Typed
from tui_chat.errors import TuiChatError


def doctor(as_json: opt.Json = False) -> int:
    """Show hardware, versions, which precisions work, where files are, and what is broken."""
    require_output()
    from tui_chat import doctor as examination
    from tui_chat import logs

    logs.configure()
    report = examination.examine(_theme_problems)
    if as_json:
        print_json(report.record)
    else:
        print("\n".join(examination.lines(report)))
    if report.problems:
        count = len(report.problems)
        complain(f"{count} problem{'s' * (count > 1)} found: {report.problems[0].one_line}")
        return 1
    return 0


def _theme_problems() -> tuple[TuiChatError, ...]:
    from tui_chat.ui.themes import load_themes

    return load_themes().errors


def bench(
    model: opt.Model = None,
    precision: opt.Precision = None,
    device: opt.Device = None,
    context: Annotated[
        int, typer.Option("--context", metavar="N", help="Tokens of prompt and reply together.")
    ] = 512,
    new_tokens: Annotated[int, typer.Option("--new", metavar="N", help="Tokens to write.")] = 128,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=1, help="The median of this many counts.")
    ] = 3,
    as_json: opt.Json = False,
) -> int:
    """Measure speed and memory: a table, then one JSON line."""
    require_output()
    from tui_chat import logs

    logs.configure()
    loaded = Typed(model=model, precision=precision, device=device).load_settings()
    from dataclasses import replace

    from tui_chat.bench import BenchOptions, measure, report
    from tui_chat.cli.opening import load_request
    from tui_chat.engine.local import LocalBackend
    from tui_chat.engine.registry import load_registry

    registry = load_registry()
    request = replace(load_request(loaded.settings, registry), context=None)
    backend = LocalBackend(registry)
    narrate(f"Measuring {request.model}")
    try:
        options = BenchOptions(request, context, new_tokens, rounds=rounds)
        report(measure(backend, options), as_json)
    finally:
        backend.unload()
    return 0
