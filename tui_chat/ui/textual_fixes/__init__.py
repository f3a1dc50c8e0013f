"""Workarounds for Textual, in modules that each give the reason and what would make them unneeded.

Nothing else under `ui/` may use a private name of Textual. Read these modules before you move to a
new version of Textual.
"""
