"""The program's own formats: JSON with everything, Markdown and HTML for readers."""
