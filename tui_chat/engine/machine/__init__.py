"""The machine: its devices and memory, thread counts, memory bandwidth, and library settings."""
