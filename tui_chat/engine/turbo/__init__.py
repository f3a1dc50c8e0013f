"""The compiled decode path: one token's forward pass as a library of machine code."""
