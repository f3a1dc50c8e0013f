"""The commands `doctor` and `bench`, which show what this machine can do and how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui_chat.cli import options as opt
from tui_chat.cli.output import complain, narrate, print_json, require_output
from tui_chat.cli.typed import Typed
from tui_chat.errors import TuiChatError
from tui_chat.terminal.shell_remedies import shell_line


def doctor(as_json: opt.Json = False) -> int:
    """Show hardware, versions, which precisions work, where files are, and what is broken."""
    require_output()
    from tui_chat import doctor as examination
    from tui_chat import logs
    from tui_chat.cli.opening import usable_settings

    logs.configure()
    report = examination.examine(
        lambda loaded, registry: usable_settings(loaded, registry)[1], _theme_problems
    )
    if as_json:
        print_json(report.record)
    else:
        print("\n".join(examination.lines(report)))
    if report.problems:
        count = len(report.problems)
        complain(f"{count} problem{'s' * (count > 1)} found: {shell_line(report.problems[0])}")
        return 1
    return 0


def _theme_problems() -> tuple[TuiChatError, ...]:
    from tui_chat.ui.themes import load_themes

    return load_themes().errors


def bench(
    new_tokens: Annotated[
        int | None,
        typer.Option(
            "--new", metavar="N", help="Tokens to write; by default as --reserve says, or 128."
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=1, help="The median of this many counts.")
    ] = 3,
    paths: Annotated[
        str,
        typer.Option(
            "--paths", metavar="LIST", help="Ways to decode, in alternating rounds: eager,turbo."
        ),
    ] = "eager",
    chat_turns: Annotated[
        int | None,
        typer.Option(
            "--chat", metavar="N", min=1, help="Also have a chat of N turns, and time each one."
        ),
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.svg", help="Draw speeds over context and turns."),
    ] = None,
    as_json: opt.Json = False,
    model: opt.Model = None,
    precision: opt.Precision = None,
    device: opt.Device = None,
    template: opt.Template = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--context",
            metavar="N",
            help="Tokens of prompt and reply together; by default 512, or with --chat the model's.",
        ),
    ] = None,
    reserve: opt.Reserve = None,
    preset: opt.PresetName = None,
    assignments: opt.Set = None,
    system: opt.System = None,
    seed: opt.Seed = None,
    resume: opt.Resume = None,
) -> int:
    """Measure speed and memory: a table, then one JSON line.

    The prompt is filler of the wanted length; with --resume it is made of that chat. Replies are
    greedy unless --preset or --set say otherwise. Of config.toml, model, precision and device
    count.

    With --chat, turn 20 and turns past the window are compared with prefilling their whole
    prompts.
    """
    require_output()
    from tui_chat import logs

    logs.configure()
    typed = Typed(
        model, precision, device, template, context, reserve, preset, assignments, system, seed
    )
    loaded = typed.load_settings()
    from tui_chat.bench import check_plot_file, measure, plot, report
    from tui_chat.cli.benching import Wanted, bench_options
    from tui_chat.engine.files.registry import load_registry
    from tui_chat.engine.local import LocalBackend

    registry = load_registry()
    wanted = Wanted(new_tokens, rounds, paths, chat_turns or 0, over_contexts=plot_file is not None)
    options = bench_options(loaded, registry, resume, wanted)
    if plot_file is not None:
        check_plot_file(plot_file)
    backend = LocalBackend(registry)
    narrate(f"Measuring {options.load.model}")
    try:
        runs = measure(backend, options, narrate)
        report(runs, as_json)
        if plot_file is not None:
            plot(runs, plot_file)
    finally:
        backend.unload()
    return 0
