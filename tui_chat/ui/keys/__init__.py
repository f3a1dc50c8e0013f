"""Key bindings made from the declared actions, and how keys are named."""
