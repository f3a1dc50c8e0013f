"""What front ends know of the engine: requests, its one thread, and a scripted stand-in."""
