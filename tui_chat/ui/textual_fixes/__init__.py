"""The only place that reaches into Textual: one module for each thing that has no public way."""
