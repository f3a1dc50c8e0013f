"""A reader for table rows in a SQLite file that SQLite itself refuses to read.

It treats every page that looks like a table leaf as one and ignores the schema and the inner
pages, so that it finds each row whose own page is intact. The layout of pages, cells and records
is described at https://www.sqlite.org/fileformat2.html, sections 1.3 to 2.1.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

Value = None | int | float | str | bytes
"""A value of a column, as one of SQLite's storage classes."""

_MAGIC = b"SQLite format 3\x00"
_TABLE_LEAF = 0x0D
_INTEGER_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes of an integer, by its serial type."""
_DEFAULT_PAGE_SIZE = 4096


def rows_on_leaf_pages(path: Path) -> Iterator[tuple[int, list[Value]]]:
    """Yield the row id and the values, in column order, of every readable table row of a file.

    A row with a damaged cell, record or overflow chain is skipped. The rows do not say which table
    they belong to, and old or deleted copies of a row may be among them.

    Raises:
        OSError: If the file cannot be read.
    """
    if path.stat().st_size == 0:
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        page_size, usable = _page_sizes(content[:100])
        for start in range(0, len(content) - len(content) % page_size, page_size):
            yield from _page_rows(content, start, page_size, usable)


def _page_sizes(header: bytes) -> tuple[int, int]:
    """Return the size and usable bytes of a page; SQLite's defaults if the header is damaged."""
    if header.startswith(_MAGIC):
        size = int.from_bytes(header[16:18], "big")
        size = 65536 if size == 1 else size
        if 512 <= size <= 65536 and size & (size - 1) == 0 and header[20] <= size - 480:
            return size, size - header[20]
    return _DEFAULT_PAGE_SIZE, _DEFAULT_PAGE_SIZE


def _page_rows(
    content: mmap.mmap, start: int, page_size: int, usable: int
) -> Iterator[tuple[int, list[Value]]]:
    page = content[start : start + page_size]
    header = 100 if start == 0 else 0  # the file header comes first on page 1
    if page[header] != _TABLE_LEAF:
        return
    cells = int.from_bytes(page[header + 3 : header + 5], "big")
    first_pointer = header + 8
    if first_pointer + 2 * cells > page_size:
        return
    for pointer in struct.unpack_from(f">{cells}H", page, first_pointer):
        try:
            payload_size, position = _varint(page, pointer)
            row_id, position = _varint(page, position)
            payload = _payload(content, page, position, payload_size, page_size, usable)
            yield row_id, _record(payload)
        except (IndexError, ValueError, struct.error):
            continue


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Decode a variable-length integer of 1 to 9 bytes; return it and the position after it."""
    value = 0
    for index in range(9):
        byte = data[position + index]
        if index == 8:  # the ninth byte has no continuation bit
            return value << 8 | byte, position + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, position + index + 1


def _payload(
    content: mmap.mmap, page: bytes, position: int, size: int, page_size: int, usable: int
) -> bytes:
    """Return the bytes of a record, including its overflow pages if it does not fit its own page.

    Raises:
        ValueError: If the size or the chain of overflow pages is impossible.
    """
    if size > len(content):
        raise ValueError("the record is longer than the file")
    # Sections 1.6 and 1.7 of the format, which call these X, M and K.
    most = usable - 35
    if size <= most:
        return page[position : position + size]
    least = (usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (usable - 4)
    local = local if local <= most else least
    parts = [page[position : position + local]]
    missing = size - local
    following = int.from_bytes(page[position + local : position + local + 4], "big")
    while missing > 0:  # ends even if the chain is a cycle, as each page reduces `missing`
        start = (following - 1) * page_size
        if following < 1 or start + page_size > len(content):
            raise ValueError("the chain of overflow pages is broken")
        part = content[start + 4 : start + 4 + min(missing, usable - 4)]
        following = int.from_bytes(content[start : start + 4], "big")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _record(payload: bytes) -> list[Value]:
    """Decode a record into its values.

    Raises:
        ValueError: If its lengths contradict each other or a serial type does not exist.
    """
    header_size, position = _varint(payload, 0)
    if header_size > len(payload):
        raise ValueError("the record header is longer than the record")
    body = header_size
    values: list[Value] = []
    while position < header_size:
        serial_type, position = _varint(payload, position)
        value, size = _value(payload, body, serial_type)
        body += size
        values.append(value)
    if body != len(payload):
        raise ValueError("the record has the wrong length")
    return values


def _value(payload: bytes, position: int, serial_type: int) -> tuple[Value, int]:
    """Decode one value of a record; return it and the number of its bytes."""
    if serial_type == 0:
        return None, 0
    if serial_type in _INTEGER_SIZES:
        size = _INTEGER_SIZES[serial_type]
        return int.from_bytes(payload[position : position + size], "big", signed=True), size
    if serial_type == 7:
        return float(struct.unpack_from(">d", payload, position)[0]), 8
    if serial_type in (8, 9):
        return serial_type - 8, 0
    if serial_type < 12:
        raise ValueError("no such serial type")
    size = (serial_type - 12) // 2
    content = payload[position : position + size]
    return (content if serial_type % 2 == 0 else content.decode(errors="replace")), size
