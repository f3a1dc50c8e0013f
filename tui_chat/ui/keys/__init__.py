"""Key bindings of the declared actions, and the names of keys."""
