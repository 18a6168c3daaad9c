"""Loops and branches: from While and If to Loop, Scan and If."""
