"""JSON from outside, however deeply it is nested.

The parser of the standard library stops at the depth of the interpreter's stack, which a tree of
some hundred messages reaches. Refuses `NaN`, `Infinity` and numbers too long to be meant.
"""

from __future__ import annotations

import json
import re
from typing import Any

_scan_string = json.decoder.scanstring  # type: ignore[attr-defined]  # public, not in typeshed
_SPACE = re.compile(r"[ \t\r\n]*")
_ATOM = re.compile(r"[-+.0-9A-Za-z]+")


def parse_json(text: str) -> Any:
    """The value that a JSON text says.

    Raises:
        ValueError: If it is not JSON; the message says where.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        value, end = _parse_deep(text, 0)
        if _after_space(text, end) != len(text):
            raise json.JSONDecodeError("Extra data", text, end) from None
        return value


def parse_item(text: str, place: int) -> tuple[Any, int]:
    """The value that begins at a place of a text, and where it ends.

    `NaN` and `Infinity` are read, so that what follows can be: `storable_values` refuses them.

    Raises:
        ValueError: If there is none; the message says where.
    """
    try:
        return _decoder.raw_decode(text, place)
    except RecursionError:
        return _parse_deep(text, place)


_decoder = json.JSONDecoder()


def _parse_deep(text: str, position: int) -> tuple[Any, int]:
    """The same without recursion; some times slower."""
    stack: list[tuple[Any, str]] = []
    while True:
        position = _after_space(text, position)
        opening = text[position : position + 1]
        if opening in ("{", "["):
            position = _after_space(text, position + 1)
            if text[position : position + 1] == {"{": "}", "[": "]"}[opening]:
                value: Any = {} if opening == "{" else []
                position += 1
            elif opening == "{":
                key, position = _key(text, position)
                stack.append(({}, key))
                continue
            else:
                stack.append(([], ""))
                continue
        elif opening == '"':
            value, position = _scan_string(text, position + 1, True)
        else:
            value, position = _atom(text, position)
        value, position = _closed(text, position, value, stack)
        if not stack:
            return value, position


def _closed(text: str, position: int, value: Any, stack: list[tuple[Any, str]]) -> tuple[Any, int]:
    """Put a value into its container, and close what ends after it."""
    while stack:
        container, key = stack[-1]
        if isinstance(container, dict):
            container[key] = value
        else:
            container.append(value)
        position = _after_space(text, position)
        following = text[position : position + 1]
        if following == ",":
            position += 1
            if isinstance(container, dict):
                key, position = _key(text, _after_space(text, position))
                stack[-1] = (container, key)
            return value, position
        if following != ("}" if isinstance(container, dict) else "]"):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
        stack.pop()
        value = container
        position += 1
    return value, position


def _key(text: str, position: int) -> tuple[str, int]:
    """The name of a field, and where its value begins."""
    if text[position : position + 1] != '"':
        raise json.JSONDecodeError("Expecting property name", text, position)
    key, position = _scan_string(text, position + 1, True)
    position = _after_space(text, position)
    if text[position : position + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, position)
    return key, position + 1


def _atom(text: str, position: int) -> tuple[Any, int]:
    """A number, true, false or null."""
    match = _ATOM.match(text, position)
    if match is None:
        raise json.JSONDecodeError("Expecting value", text, position)
    return json.loads(match.group(), parse_constant=_refuse), match.end()


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
