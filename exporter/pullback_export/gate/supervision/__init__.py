"""Limits on what an evaluation may take, child processes, and interrupts."""
