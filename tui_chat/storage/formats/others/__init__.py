"""Formats of other programs: ChatGPT exports, fine-tuning rows and preference pairs."""
