"""What the gate catches and what it lets pass."""
