"""The compiled decode path: the forward pass of one token as a library of machine code."""
