"""Figures about the real program; see docs/benchmarks.md. No part of the package."""
