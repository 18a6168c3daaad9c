"""Tables of rows for ``lowering/rules/containers``."""
