"""Special functions: series, fractions and their coefficients."""
