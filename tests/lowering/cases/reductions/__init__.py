"""Tables of rows for ``lowering/rules/reductions``."""
