"""Where a message is typed: the prompt, its history, completion and the external editor."""
