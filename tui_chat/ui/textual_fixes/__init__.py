"""The places where the program mends or touches Textual's insides, each with its reason.

Nothing else under `ui/` may use a private name of Textual. Come here when a new version of Textual
is taken: every module says what would make it unneeded.
"""
