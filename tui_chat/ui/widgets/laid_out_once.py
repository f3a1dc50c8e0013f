"""One layout for one change, where Textual makes two.

Owns that alone. A widget that has got another size asks for a second layout of the whole screen,
in case scrollbars come or go with it. What holds the messages has none, or keeps room for its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Size

if TYPE_CHECKING:
    from textual.widget import Widget as Base
else:
    Base = object  # Textual takes its styles from the first base that is a widget


class LaidOutOnce(Base):
    """Laid over a widget whose size changes nothing about the layout that it came from."""

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        return super()._size_updated(size, virtual_size, container_size, layout=False)
