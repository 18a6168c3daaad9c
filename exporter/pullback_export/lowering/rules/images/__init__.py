"""Resizing, cropping, projecting, colors."""
