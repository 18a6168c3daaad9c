"""Tables larger than memory: where rows come from, and where results go."""
