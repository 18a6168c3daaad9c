"""Gradients that a model declares itself: no defect, and changed only where the gate takes differences."""
