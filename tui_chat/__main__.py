"""Entry point of ``python -m tui_chat``, the same program as the ``tui-chat`` command."""

from tui_chat.cli import main

if __name__ == "__main__":
    main()
