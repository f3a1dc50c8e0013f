"""The terminal: who may write to it, what may be written, and how the program leaves it."""
