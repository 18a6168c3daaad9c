"""Limits, child processes and interrupts."""
