"""Tables of rows for ``lowering/rules/elementwise``."""
