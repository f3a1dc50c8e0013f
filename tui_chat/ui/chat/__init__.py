"""The main chat screen and the parts it is built from."""
