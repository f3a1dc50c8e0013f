"""Splits the bytes from a terminal into typed text, key sequences and pastes.

The driver feeds Textual's parser (`textual._xterm_parser`, 8.2.8) whole pieces only, for three
reasons: the parser turns an escape sequence inside a bracketed paste into keys, it appends what
follows an unknown sequence in the same read to that sequence, and its reader ends the program at a
byte that is not UTF-8. This module would be unneeded if Textual took everything between `ESC[200~`
and `ESC[201~` literally, decoded with replacement characters, and dropped unknown sequences.

The code is pure: bytes and times in, pieces out, so a test can cut a stream anywhere.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

ESC = "\x1b"
PASTE_START = "\x1b[200~"
PASTE_END = "\x1b[201~"

CUT_S = 0.5
"""Seconds that the rest of a sequence or of a character may take. After that the beginning of a
sequence is dropped, and that of a character shown as a replacement character."""
PASTE_SILENCE_S = 1.0
"""Seconds of silence after which an open paste counts as ended, so that later input is keys
again."""
SETTLE_S = 0.03
"""Seconds without input after an end marker until the paste counts as ended."""
MOST_SETTLE_S = 0.25
"""Most seconds to wait for that silence, which mouse movement can prevent."""
LATE_CHARACTERS = 64
"""After a paste ended by silence, a read of at least this length is more of the paste, not keys."""

_LONGEST_SEQUENCE = 32
"""Most characters that Textual's parser accepts as one sequence."""
_SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[(?:"
    r"\[[A-E]"  # F1 to F5 of the Linux console
    r"|M[^\x00-\x1f]{3}"  # the mouse as X10 reports it
    r"|\d+\$"  # Shift and a function key in rxvt
    r"|[0-?]*[ -/]*[@-LN-Z\\-~]|[0-?]+[ -/]*M"  # ECMA-48, 5.4
    r")"
    r"|O[0-9;]*[@-~]"
    r"|[^\x1b\[O]"  # Alt and a key
    r")"
)
_BEGINNING = re.compile(r"\x1b(?:\[(?:\[|M[^\x00-\x1f]{0,2}|[0-?]*[ -/]*)?|O[0-9;]*)?\Z")
"""Text that may become a sequence with the next read."""
_BROKEN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O[0-9;]*)?")
_COMPOSED = re.compile(r"\x1b\[([\d:]*);([\d:]*);(\d+(?::\d+)+)u")
"""A key of the kitty protocol that types several characters, as input methods send it."""

_END = re.compile(re.escape(PASTE_END))
_MARKER = re.compile(f"{re.escape(PASTE_START)}|{re.escape(PASTE_END)}")
_PASTED_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\n\r]*(?:\x07|\x1b\\)"  # OSC, DCS and the like, with their end
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
_PASTED_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
"""Control characters except those that break lines, which are part of the text."""


@dataclass(frozen=True, slots=True)
class Typed:
    """Characters without an escape sequence; control characters among them are keys."""

    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A whole escape sequence. One character is Esc; two are Alt and a key."""

    text: str


@dataclass(frozen=True, slots=True)
class Pasted:
    """The text between the markers of a paste, cleaned by `clean_paste`."""

    text: str


Piece = Typed | Sequence | Pasted


def clean_paste(text: str) -> str:
    """Return pasted text without control sequences and characters; CR and CRLF become LF."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if ESC in text or "\x9b" in text:
        text = _PASTED_SEQUENCE.sub("", text)
    return _PASTED_CONTROL.sub("", text)


class InputSplitter:
    """Splits terminal input that arrives in arbitrary chunks.

    A paste may contain its own end marker, which looks like the end of the paste. So the splitter
    accepts an end only when nothing follows for a moment: text that arrives in the same burst and
    has another marker behind it is pasted too, and never runs as keys.

    Args:
        esc_delay_s: Seconds that a lone Esc waits for the rest of a sequence.
    """

    def __init__(self, esc_delay_s: float) -> None:
        self._esc_delay_s = esc_delay_s
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._beginning = ""
        """The beginning of a sequence that is not complete yet."""
        self._paste: list[str] | None = None
        """The parts of the current paste; None outside a paste."""
        self._is_open = False
        """Whether the end of the paste has not come yet."""
        self._rest = ""
        """In an open paste the possible beginning of its end marker; after an end the text
        behind it."""
        self._is_late = False
        """Whether the last paste ended by silence, so that the rest of it may still come."""
        self._fed_at = self._ended_at = 0.0

    def feed(self, data: bytes, now: float) -> list[Piece]:
        """Take the bytes of one read, and return the complete pieces.

        Args:
            data: The bytes as read.
            now: The time in seconds of a monotonic clock.
        """
        self._fed_at = now
        return self._take(self._decoder.decode(data), now)

    @property
    def deadline(self) -> float | None:
        """The time at which to call `tick` if nothing arrives before; None if there is no need."""
        if self._paste is not None:
            if self._is_open:
                return self._fed_at + PASTE_SILENCE_S
            return min(self._fed_at + SETTLE_S, self._ended_at + MOST_SETTLE_S)
        if self._decoder.getstate()[0]:
            return self._fed_at + CUT_S
        if self._beginning:
            is_key = len(self._beginning) <= 2
            return self._fed_at + (self._esc_delay_s if is_key else CUT_S)
        return None

    def tick(self, now: float) -> list[Piece]:
        """Return the pieces whose missing rest has not come by the deadline."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return []
        pieces = self._take(self._decoder.decode(b"", final=True), now)
        self._decoder.reset()
        if self._paste is not None:
            pieces += self._end_paste()
        elif self._beginning:
            beginning, self._beginning = self._beginning, ""
            if len(beginning) <= 2:
                pieces.append(Sequence(beginning))
        return pieces

    def _take(self, text: str, now: float) -> list[Piece]:
        if not text:
            return []
        if self._paste is not None:
            self._gather(text, now)
            return []
        if self._is_late and (PASTE_END in text or len(text) >= LATE_CHARACTERS):
            self._paste, self._is_open, self._rest = [], True, ""
            text, self._beginning = self._beginning + text, ""
            self._gather(text, now)
            return []
        return list(self._keys(text, now))

    # Keys -----------------------------------------------------------------------------------------

    def _keys(self, text: str, now: float) -> Iterator[Piece]:
        text, self._beginning = self._beginning + text, ""
        at = 0
        while at < len(text):
            esc = text.find(ESC, at)
            if esc != at:
                yield Typed(text[at : esc if esc > 0 else None])
                if esc < 0:
                    return
            match = _SEQUENCE.match(text, esc)
            if match is None and _BEGINNING.match(text, esc):
                if len(text) - esc <= _LONGEST_SEQUENCE:
                    self._beginning = text[esc:]
                return
            at = match.end() if match else esc
            if match is None:
                broken = _BROKEN.match(text, esc)
                assert broken is not None  # it begins with Esc
                at = broken.end()
                if at - esc <= 2:
                    yield Sequence(broken[0])
            elif match[0] == PASTE_START:
                self._paste, self._is_open, self._rest = [], True, ""
                self._gather(text[at:], now)
                return
            elif match[0] == PASTE_END:
                self._is_late = False
            else:
                yield from _sequences(match[0])

    # Pastes ---------------------------------------------------------------------------------------

    def _gather(self, text: str, now: float) -> None:
        """Collect the text of a paste, up to a possible end marker."""
        assert self._paste is not None
        text = self._rest + text
        at = 0
        # After an end marker, another marker of either kind means that the text between is pasted.
        while match := (_END if self._is_open else _MARKER).search(text, at):
            self._paste.append(text[at : match.start()])
            self._is_open = match[0] == PASTE_START
            self._ended_at = now
            at = match.end()
        keep = len(PASTE_END) - 1 if self._is_open else len(text)
        cut = max(at, len(text) - keep)
        self._paste.append(text[at:cut])
        self._rest = text[cut:]

    def _end_paste(self) -> list[Piece]:
        """Return the paste as a piece, and the text behind it as keys."""
        assert self._paste is not None
        self._is_late = self._is_open
        parts = [*self._paste, self._rest] if self._is_open else self._paste
        rest = "" if self._is_open else self._rest
        self._paste, self._is_open, self._rest = None, False, ""
        text = clean_paste("".join(parts))
        return [*([Pasted(text)] if text else []), *self._keys(rest, self._fed_at)]


def _sequences(text: str) -> Iterator[Piece]:
    """Yield a sequence as pieces that Textual's parser accepts; one that is too long is dropped."""
    if composed := _COMPOSED.fullmatch(text):
        for character in composed[3].split(":"):
            yield Sequence(f"\x1b[{composed[1]};{composed[2]};{character}u")
    elif len(text) <= _LONGEST_SEQUENCE:
        yield Sequence(text)
