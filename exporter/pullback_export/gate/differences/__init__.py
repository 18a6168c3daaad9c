"""Central differences: what they measure, what they excuse, and what is held where the model declares its gradient."""
