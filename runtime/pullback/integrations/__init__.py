"""One small file per library that users already have; each needs its extra."""
