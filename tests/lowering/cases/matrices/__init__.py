"""Tables of rows for ``lowering/rules/matrices``."""
