"""Conversion between token ids and text: tokenizers, chat templates, streaming, stop strings."""
