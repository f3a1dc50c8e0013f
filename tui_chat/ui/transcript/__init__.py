"""The transcript: everything that was said, in one scrolling widget."""
