"""When an artifact is off: bounds, the verdict, and what rounding does beside a sample."""
