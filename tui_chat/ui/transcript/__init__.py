"""The transcript: the messages of the active path in one scrolling widget."""
