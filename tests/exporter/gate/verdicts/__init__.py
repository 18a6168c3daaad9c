"""When an artifact is off."""
