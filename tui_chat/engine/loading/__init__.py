"""From files to a model in memory: the estimate, the plan, the weights, the checks."""
