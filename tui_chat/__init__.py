"""tui-chat: a full-screen terminal chat that runs a language model in its own process."""

__version__ = "0.1.0"
