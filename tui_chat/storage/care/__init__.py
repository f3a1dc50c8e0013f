"""Operations on the database as a whole: checks, backups, compaction and imports."""
