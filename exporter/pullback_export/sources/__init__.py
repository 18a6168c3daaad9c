"""Whatever the user gave, as named inputs, named outputs and one function."""
