"""Colours of code in replies, taken from the theme.

Owns which kind of word gets which of the theme's colours: few and calm, so that code reads as
text. One set for themes with colours of their own, one for those that use the terminal's.
"""

from __future__ import annotations

from pygments.token import Token  # type: ignore[import-untyped]  # has no types
from textual.content import Content
from textual.highlight import HighlightTheme, TokenType, highlight


class CodeColours(HighlightTheme):
    """From the theme's text colours, which stand out from its background by construction."""

    STYLES: dict[TokenType, str] = {  # noqa: RUF012 - as the base class declares it
        Token.Comment: "$text-muted italic",
        Token.Keyword: "$text-primary",
        Token.Keyword.Constant: "$text-warning",
        Token.Literal.Number: "$text-warning",
        Token.Literal.String: "$text-success",
        Token.Literal.String.Doc: "$text-success italic",
        Token.Name.Attribute: "$text-primary",
        Token.Name.Builtin: "$text-primary",
        Token.Name.Class: "bold",
        Token.Name.Decorator: "$text-warning",
        Token.Name.Function: "bold",
        Token.Name.Tag: "$text-primary",
        Token.Operator.Word: "$text-primary",
        Token.Generic.Deleted: "$text-error",
        Token.Generic.Inserted: "$text-success",
        Token.Generic.Heading: "bold",
        Token.Generic.Subheading: "bold",
        Token.Generic.Emph: "italic",
        Token.Generic.Strong: "bold",
        Token.Generic.Prompt: "$text-muted",
    }


class TerminalCodeColours(HighlightTheme):
    """From the sixteen colours of the terminal."""

    STYLES: dict[TokenType, str] = {  # noqa: RUF012 - as the base class declares it
        Token.Comment: "ansi_bright_black italic",
        Token.Keyword: "ansi_blue",
        Token.Keyword.Constant: "ansi_yellow",
        Token.Literal.Number: "ansi_yellow",
        Token.Literal.String: "ansi_green",
        Token.Name.Builtin: "ansi_blue",
        Token.Name.Class: "bold",
        Token.Name.Decorator: "ansi_yellow",
        Token.Name.Function: "bold",
        Token.Name.Tag: "ansi_blue",
        Token.Operator.Word: "ansi_blue",
        Token.Generic.Deleted: "ansi_red",
        Token.Generic.Inserted: "ansi_green",
        Token.Generic.Emph: "italic",
        Token.Generic.Strong: "bold",
    }


def coloured_code(code: str, language: str, uses_terminal_colours: bool) -> Content:
    """Colour code by its language; an unknown or missing one leaves it plain.

    A language is never guessed: guessing tries hundreds of grammars on every line that arrives.
    """
    theme = TerminalCodeColours if uses_terminal_colours else CodeColours
    name = language.split()[0] if language.strip() else "text"
    return highlight(code, language=name, theme=theme)
