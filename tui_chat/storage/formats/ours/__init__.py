"""Our own formats: JSON that keeps everything, Markdown and HTML to be read."""
