"""The graph under construction: sizes, values and what is found in it."""
