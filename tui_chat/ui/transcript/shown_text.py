"""The texts that messages show, for the search with Ctrl+F.

Nothing here makes widgets, so a worker thread can search thousands of messages.
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
"""Most characters of message text for which the shown texts are kept for the next search."""
_MARKS = str.maketrans("", "", "*_~`\\[]<>!|")
"""Characters that Markdown allows inside a word and that the screen may not show."""
_HIDDEN = re.compile(r"\]\s*[(\[]|&|%|://|xn--", re.IGNORECASE)
"""Where Markdown hides or changes more than these characters: link addresses and entities."""


def shown_texts(message: Message, parser: MarkdownIt) -> list[str]:
    """Return the texts that a message shows, top to bottom, one for each of its blocks.

    Args:
        message: Any message.
        parser: A parser that no other thread uses.
    """
    blocks = Blocks(parser if is_reply(message) else None)
    blocks.show(safe_text(message.text))
    blocks.read_all()
    return [content_of(block, blocks.env).plain for block in blocks.list]


def may_show(message: Message, words: list[str]) -> bool:
    """Return whether a message could show some words in sequence, without parsing its Markdown.

    The answer may be wrongly True but is never wrongly False.

    Args:
        message: Any message.
        words: The words of the search, at least one.
    """
    text = safe_text(message.text)
    if not is_reply(message) or _HIDDEN.search(text):
        return True
    # Compare without white space, because the screen omits spaces at the ends of inline code.
    wanted = re.escape("".join(words).translate(_MARKS))
    return re.search(wanted, "".join(text.split()).translate(_MARKS), re.IGNORECASE) is not None


class ShownTexts:
    """A source of the texts that messages show, which caches them during a search."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, list[str]]] = {}
        self._size = 0

    def clear(self) -> None:
        """Drop the cached texts."""
        self._kept.clear()
        self._size = 0

    def of(
        self, messages: Iterable[Message], words: list[str], is_over: Callable[[], bool]
    ) -> Iterator[tuple[str, list[str]]]:
        """Yield the texts of those messages that may show some words in sequence. Any thread.

        Args:
            messages: The messages in order.
            words: The words of the search, at least one.
            is_over: Called before each message; True ends the iteration.

        Yields:
            The id of a message and its texts.
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
                time.sleep(0)  # release the GIL, so that the UI thread handles a waiting key
            yield message.id, texts

    def _keep(self, message: Message, texts: list[str]) -> None:
        # A full cache stays as it is: evicting the oldest texts to make room for the next message
        # would drop just those that the next search begins with.
        if self._size + len(message.text) <= MOST_KEPT:
            self._size += len(message.text)
            self._kept[message.id] = message.text, texts
