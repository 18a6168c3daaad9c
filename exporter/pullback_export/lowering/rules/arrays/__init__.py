"""Operators that rearrange, join, pick and scatter."""
