"""The commands `models list`, `show` and `check`: the registry, and whether a model works here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tui_chat.cli import options as opt
from tui_chat.cli.file_problems import one_for_each_file
from tui_chat.cli.output import complain, narrate, print_json, print_table
from tui_chat.cli.typed import Typed
from tui_chat.errors import TuiChatError
from tui_chat.safe_text import safe_line
from tui_chat.terminal.shell_remedies import shell_line

if TYPE_CHECKING:
    from tui_chat.chat.model_size import ModelChoice, PrecisionChoice
    from tui_chat.engine.files.registry import Registry

app = typer.Typer(
    help="The models known by name, and whether they work here.", rich_markup_mode=None
)

_Name = Annotated[
    str,
    typer.Argument(metavar="[NAME]", help="A name, a directory or a hub id; the default model."),
]


@app.command("list")
def list_models(as_json: opt.Json = False) -> int:
    """List the models of models.toml, and what fits into memory here."""
    registry = _registry()
    from tui_chat.engine.local import LocalBackend

    choices = LocalBackend(registry).models()
    if as_json:
        print_json([_model_record(choice, registry) for choice in choices])
        return 0
    rows = [
        (
            choice.name + (" *" if choice.name == registry.default else ""),
            _count(choice.parameters),
            str(choice.context),
            choice.precision or "-",
            _size(choice),
            "yes" if choice.is_local else "no",
            choice.problem or _fits(choice.fits),
        )
        for choice in choices
    ]
    print_table(("NAME", "WEIGHTS", "CONTEXT", "IN", "NEEDS", "HERE", "FITS"), rows)
    return 0


@app.command("show")
def show(name: _Name = "", as_json: opt.Json = False) -> int:
    """Show one model: where its files are, and what each precision needs."""
    registry = _registry()
    from tui_chat.chat.model_size import format_bytes
    from tui_chat.engine.local import LocalBackend

    spec = registry.resolve(name)
    choices = LocalBackend(registry).precisions(spec.name)
    if as_json:
        record = asdict(spec)
        record.update(
            kind=spec.kind,
            is_default=spec.name == registry.default,
            directory=str(spec.directory) if spec.directory is not None else None,
            precisions=[_precision_record(choice) for choice in choices],
        )
        print_json(record)
        return 0
    facts = {
        "name": spec.name,
        "source": spec.source,
        "revision": spec.revision if spec.kind == "hub" else "",
        "directory": str(spec.directory or ""),
        "description": spec.description,
        "template": spec.template or "",
        "context": str(spec.context or ""),
        "reserve": str(spec.reserve or ""),
        "precision": spec.precision,
        "preset": spec.preset or "",
    }
    for label, value in facts.items():
        if value:
            print(f"{label:<12} {safe_line(value)}")
    print()
    rows = [
        (
            choice.precision,
            format_bytes(choice.estimate.total) if choice.estimate else "-",
            format_bytes(choice.free),
            choice.reason or ("fits" if choice.fits else "does not fit"),
        )
        for choice in choices
    ]
    print_table(("PRECISION", "NEEDS", "FREE", ""), rows)
    return 0


@app.command("check")
def check(
    name: _Name = "",
    as_json: opt.Json = False,
    precision: opt.Precision = None,
    device: opt.Device = None,
) -> int:
    """Load a model, run its checks, and report problems."""
    loaded = Typed(model=name or None, precision=precision, device=device).load_settings()
    registry = _registry(loaded.problems)
    from tui_chat.cli.opening import load_request
    from tui_chat.engine.local import LocalBackend

    request = load_request(loaded.settings, registry)
    backend = LocalBackend(registry)
    record: dict[str, Any] = {
        "model": request.model, "ok": False, "precision": None, "device": None, "template": None,
        "context": None, "parameters": None, "weight_bytes": None, "load_s": None, "warnings": [],
        "problem": None,
    }  # fmt: skip
    failure: TuiChatError | None = None
    try:
        from threading import Event

        narrate(f"Loading {request.model}")
        info = backend.load(backend.preflight(request), lambda event: None, Event())
        record.update(
            model=info.name, ok=True, precision=info.precision, device=info.device,
            template=info.template, context=info.context, parameters=info.parameters,
            weight_bytes=info.weight_bytes, load_s=round(info.load_s, 3),
            warnings=list(info.warnings),
        )  # fmt: skip
    except TuiChatError as error:
        failure = error
        record["problem"] = {"title": error.title, "detail": error.detail, "hint": error.hint}
    finally:
        backend.unload()
    if as_json:
        print_json(record)
    elif failure is None:
        print(
            f"{safe_line(record['model'])} works: {record['precision']} on {record['device']}, "
            f"loaded in {record['load_s']} s"
        )
        for warning in record["warnings"]:
            print(f"  {safe_line(warning)}")
    if failure is not None:
        complain(shell_line(failure))
        return 1
    return 0


def _registry(problems: Iterable[TuiChatError] = ()) -> Registry:
    """Load the registry; print the problems in its files, and the given ones, to stderr."""
    from tui_chat import logs
    from tui_chat.engine.files.registry import load_registry

    logs.configure()
    registry = load_registry()
    for line in one_for_each_file((*problems, *registry.problems)):
        complain(line)
    return registry


def _model_record(choice: ModelChoice, registry: Registry) -> dict[str, Any]:
    record = asdict(choice)
    record["is_default"] = choice.name == registry.default
    record["needed_bytes"] = choice.estimate.total if choice.estimate is not None else None
    return record


def _precision_record(choice: PrecisionChoice) -> dict[str, Any]:
    record = asdict(choice)
    record["needed_bytes"] = choice.estimate.total if choice.estimate is not None else None
    return record


def _size(choice: ModelChoice) -> str:
    from tui_chat.chat.model_size import format_bytes

    return format_bytes(choice.estimate.total) if choice.estimate is not None else "-"


def _fits(fits: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[fits]


def _count(parameters: int | None) -> str:
    """Format a number of weights as people write it: `6.1M`, `11.8B`."""
    if parameters is None:
        return "-"
    size, unit = (parameters / 1e9, "B") if parameters >= 1e9 else (parameters / 1e6, "M")
    return f"{size:.1f}{unit}"
