"""Saving in the background: a queue of changes and the thread that writes them."""
