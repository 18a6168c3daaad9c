"""Laws that hold between the derivative kinds, whatever the model."""
