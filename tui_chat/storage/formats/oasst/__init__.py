"""Open Assistant's JSON lines: message trees, threads and flat messages."""
