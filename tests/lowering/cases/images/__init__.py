"""Tables of rows for ``lowering/rules/images``."""
