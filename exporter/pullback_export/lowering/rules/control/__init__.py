"""Constants, calls, loops and branches."""
