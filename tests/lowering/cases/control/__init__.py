"""Tables of rows for ``lowering/rules/control``."""
