"""Models as files: the table of known models, the hub, and what lies in a model directory."""
