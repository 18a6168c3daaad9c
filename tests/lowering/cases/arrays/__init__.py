"""Tables of rows for ``lowering/rules/arrays``."""
