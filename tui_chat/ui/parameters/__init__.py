"""The panel of sampling parameters (F2)."""
