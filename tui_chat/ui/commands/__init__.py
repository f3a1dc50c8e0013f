"""What keys, slash commands, menus and the palette do."""
