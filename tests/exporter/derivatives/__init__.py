"""Every kind of derivative, over every kind of model."""
