"""The table of operator tests, one file per family."""
