"""Open Assistant's JSON lines format: message trees, threads and flat messages."""
