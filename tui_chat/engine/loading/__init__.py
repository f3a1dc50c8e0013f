"""Loading a model: memory estimates, the load plan, reading weights, and checks of the result."""
