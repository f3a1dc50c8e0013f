"""Containers that cost nothing while they are out of sight.

Textual lays out every widget there is for every frame, and so a frame costs more the longer the
chat is. A folded container keeps its height, and is laid out as if there were nothing in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from textual.geometry import Region, Size

if TYPE_CHECKING:
    from textual.widget import Widget as Base
else:
    Base = object  # Textual takes its styles from the first base that is a widget


class Foldable(Base):
    """Laid over a container whose height is that of what it holds.

    It unfolds by itself when anything in it is to be laid out anew, or when its width changes.
    """

    _is_folded = False
    _measured: tuple[int, int] | None = None
    """The width and height of its last layout."""

    def see(self, top: int, bottom: int) -> None:
        """Fold or unfold, by which of its lines are near what is in view.

        Args:
            top: The first line that is, counted from its own first; may be negative.
            bottom: The line after the last one.
        """
        if self._measured is None:
            return
        self._is_folded = bottom <= 0 or top >= self._measured[1]

    @property
    def is_folded(self) -> bool:
        """Whether what it holds is left out of the layout."""
        return self._is_folded

    @property
    def is_container(self) -> bool:
        """Textual looks into containers alone."""
        return not self._is_folded and super().is_container

    @property
    def is_scrollable(self) -> bool:
        """The same, in other places."""
        return not self._is_folded and super().is_scrollable

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Lines at a width; known already while it is folded."""
        if self._is_folded and self._measured is not None and self._measured[0] == width:
            return self._measured[1]
        self._is_folded = False
        height = super().get_content_height(container, viewport, width)
        self._measured = width, height
        return height

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        """Unfold where the layout changes."""
        if layout:
            self._is_folded = False
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def _clear_arrangement_cache(self) -> None:
        """Called where the layout of something within changes."""
        self._is_folded = False
        super()._clear_arrangement_cache()
