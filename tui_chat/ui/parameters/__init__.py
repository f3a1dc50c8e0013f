"""The panel of the sampling parameters (F2)."""
