"""An input that leaves some keys to its screen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class Field(Input, inherit_bindings=False):
    """A one-line input that leaves Enter, Up and Down to the screen.

    A priority binding of the screen would not do: it would overtake keys that are still on their
    way to the field when somebody types fast.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        binding
        for binding in Input.BINDINGS
        if not (isinstance(binding, Binding) and binding.key == "enter")
    ]
