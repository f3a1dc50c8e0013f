"""A JSON parser for input of any nesting depth.

The parser of the standard library fails at the recursion limit of the interpreter, which a tree of
some hundred messages reaches. This module falls back to a loop with a stack of its own.
"""

from __future__ import annotations

import json
import re
from typing import Any

_scan_string = json.decoder.scanstring  # type: ignore[attr-defined]  # public, not in typeshed
_SPACE = re.compile(r"[ \t\r\n]*")
_ATOM = re.compile(r"[-+.0-9A-Za-z]+")


def parse_json(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: If the text is not JSON, with the position in the message, or if it contains
            `NaN`, `Infinity` or an integer with more digits than Python converts.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        value, end = _parse_deep(text, 0)
        if _after_space(text, end) != len(text):
            raise json.JSONDecodeError("Extra data", text, end) from None
        return value


def parse_item(text: str, place: int) -> tuple[Any, int]:
    """Parse the JSON value that begins at an index of a text; return it and the index after it.

    Unlike `parse_json`, this accepts `NaN` and `Infinity` where the standard parser can read the
    value, so that the caller can go on with the next item. `storable_values` rejects them later.

    Raises:
        ValueError: If no value begins there, with the position in the message.
    """
    try:
        return _decoder.raw_decode(text, place)
    except RecursionError:
        return _parse_deep(text, place)


_decoder = json.JSONDecoder()


def _parse_deep(text: str, position: int) -> tuple[Any, int]:
    """Do the same as `parse_item` without recursion, a few times more slowly.

    `stack` holds the open containers, each with the key for its next value ("" in a list).
    """
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
    """Put a value into its container, and close every container that ends after it.

    Returns:
        The last value completed, and the position where the next value begins or, if the stack is
        empty, where the whole value ends.
    """
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
    """Parse the key of an object and the colon; return the key and the position after them."""
    if text[position : position + 1] != '"':
        raise json.JSONDecodeError("Expecting property name", text, position)
    key, position = _scan_string(text, position + 1, True)
    position = _after_space(text, position)
    if text[position : position + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, position)
    return key, position + 1


def _atom(text: str, position: int) -> tuple[Any, int]:
    """Parse a number, `true`, `false` or `null`."""
    match = _ATOM.match(text, position)
    if match is None:
        raise json.JSONDecodeError("Expecting value", text, position)
    return json.loads(match.group(), parse_constant=_refuse), match.end()


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
