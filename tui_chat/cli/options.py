"""The typer options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="NAME|DIRECTORY|HUB_ID", help="The model to load."),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "-p", "--precision", metavar="NAME", help="auto, fp32, bf16, fp16, 8bit, int8 or 4bit."
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
]
Template = Annotated[
    str | None,
    typer.Option("--template", metavar="NAME", help="How turns are written; auto is the model's."),
]
Context = Annotated[
    int | None, typer.Option("--context", metavar="N", help="Tokens of prompt and reply together.")
]
Reserve = Annotated[
    int | None, typer.Option("--reserve", metavar="N", help="Tokens kept free for the reply.")
]
PresetName = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="A named set of parameters.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A sampling parameter; can be repeated."),
]
System = Annotated[
    str | None,
    typer.Option("--system", metavar="TEXT|@FILE", help="The system message, or a file with it."),
]
Seed = Annotated[
    str | None,
    typer.Option("--seed", metavar="N", help="Starts the random numbers; same seed, same reply."),
]
Resume = Annotated[
    str | None, typer.Option("--resume", metavar="ID|last", help="Go on with a saved chat.")
]
Theme = Annotated[str | None, typer.Option("--theme", metavar="NAME", help="The colours.")]
NoSave = Annotated[bool, typer.Option("--no-save", help="Do not save this chat.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="QUERY",
        help="Only chats with a message that `transcripts search QUERY` finds, as "
        "'tag:work rated:up'.",
    ),
]
