"""The SQLite file: its schema, rows, readers and writers, and who may write."""
