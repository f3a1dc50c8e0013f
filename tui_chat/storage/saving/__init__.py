"""Saving while the chat goes on: a queue of changes and the thread that writes them."""
