"""Tables of rows for ``lowering/rules/layers``."""
