"""What the user may give."""
