"""This computer: devices and their memory, threads, memory bandwidth, quiet libraries."""
