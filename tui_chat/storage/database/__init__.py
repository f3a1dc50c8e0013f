"""The SQLite file: schema, row mapping, reading, writing, repair and the locks on writing."""
