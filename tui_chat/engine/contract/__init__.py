"""The engine as front ends see it: the backend protocol, the engine thread, a scripted backend."""
