"""Formats of other programs: ChatGPT, rows of turns for fine-tuning, preference pairs."""
