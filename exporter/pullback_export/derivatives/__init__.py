"""Requests, and how each kind of derivative is computed with tapes."""
