"""The prompt: its text area, the history, slash completion and the external editor."""
