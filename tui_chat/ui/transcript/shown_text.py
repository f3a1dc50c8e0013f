"""The texts that messages show, for a search through what is on the screen.

Come here for what Ctrl+F looks at. It makes no widgets, so that threads can search thousands of
messages with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator

from markdown_it import MarkdownIt

from tui_chat.chat.conversation import Message
from tui_chat.safe_text import safe_text
from tui_chat.ui.transcript.blocks import Blocks
from tui_chat.ui.transcript.drawing import content_of
from tui_chat.ui.transcript.look import is_reply
from tui_chat.ui.transcript.markdown import new_parser

MOST_KEPT = 4_000_000
"""Characters of messages whose texts are kept for the next search."""
_MARKS = str.maketrans("", "", "*_~`\\[]<>!|")
"""What may stand within a word in Markdown, and not on the screen."""
_HIDDEN = re.compile(r"\]\s*[(\[]|&|%|://|xn--", re.IGNORECASE)
"""Where more than that is hidden or changed: addresses of links, entities."""


def shown_texts(message: Message, parser: MarkdownIt) -> list[str]:
    """The texts that a message shows, top to bottom, one for each of its blocks.

    Args:
        message: Any message.
        parser: One of this thread's own.
    """
    blocks = Blocks(parser if is_reply(message) else None)
    blocks.show(safe_text(message.text))
    blocks.read_all()
    return [content_of(block, blocks.env).plain for block in blocks.list]


def may_show(message: Message, words: list[str]) -> bool:
    """Whether words that follow each other could be on the screen; quick, and never wrongly False.

    Args:
        message: Any message.
        words: As they are looked for, at least one.
    """
    text = safe_text(message.text)
    if not is_reply(message) or _HIDDEN.search(text):
        return True
    # without spaces, of which those at the ends of code are left out
    wanted = re.escape("".join(words).translate(_MARKS))
    return re.search(wanted, "".join(text.split()).translate(_MARKS), re.IGNORECASE) is not None


class ShownTexts:
    """Gives the texts that messages show, and keeps them while somebody searches."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, list[str]]] = {}
        self._size = 0

    def clear(self) -> None:
        """Let go of what is kept."""
        self._kept.clear()
        self._size = 0

    def of(
        self, messages: Iterable[Message], words: list[str], is_over: Callable[[], bool]
    ) -> Iterator[tuple[str, list[str]]]:
        """The texts of those messages that may show some words one after the other. Any thread.

        Args:
            messages: In order.
            words: At least one.
            is_over: Asked before each message; True ends it.

        Yields:
            The id of each of them, and its texts.
        """
        parser = new_parser()
        for message in messages:
            if is_over():
                return
            text, texts = self._kept.get(message.id, ("", []))
            if text != message.text:
                if not may_show(message, words):
                    continue
                texts = shown_texts(message, parser)
                self._keep(message, texts)
                time.sleep(0)  # a key that waits for this thread goes first
            yield message.id, texts

    def _keep(self, message: Message, texts: list[str]) -> None:
        # What is full stays as it is. To make room for the next message of a path would let go of
        # just what the next search begins with.
        if self._size + len(message.text) <= MOST_KEPT:
            self._size += len(message.text)
            self._kept[message.id] = message.text, texts
