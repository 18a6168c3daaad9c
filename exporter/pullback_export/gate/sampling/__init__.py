"""Where the gate's inputs come from: the caller's, drawn ones, other sizes, seeds."""
