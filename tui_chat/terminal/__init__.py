"""The terminal: ownership while the screens run, safe output, and the end of the process."""
