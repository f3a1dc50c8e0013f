"""What front ends know of the engine: requests, the thread that answers them, and a scripted stand-in."""
