"""Explain a model's output: attributions to the components of an input. NumPy only; ``plot`` needs matplotlib."""

from __future__ import annotations

from pullback.explain.gradients import integrated_gradients, saliency, smoothgrad
from pullback.explain.layers import grad_cam
from pullback.explain.occluded import occlusion
from pullback.explain.picture import plot

__all__ = ["grad_cam", "integrated_gradients", "occlusion", "plot", "saliency", "smoothgrad"]
