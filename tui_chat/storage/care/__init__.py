"""What is done with the database as a whole: checks, copies, imports."""
