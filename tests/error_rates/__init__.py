"""The gate's two error rates: planted faults that it catches, right exports that it refuses; see ``__main__``."""
