"""``pullback.explain`` against Captum on the torch function of the same bundle."""

from __future__ import annotations

import numpy as np
import pullback
import torch
from captum.attr import IntegratedGradients, Saliency
from pullback import explain
from pullback.integrations.torch import to_torch

X = np.array([[0.3, -0.5, 0.8], [1.2, 0.1, -0.7]])


def test_saliency_and_integrated_gradients(hill: pullback.Bundle, picture: pullback.Bundle) -> None:
    image = np.random.default_rng(0).random((2, 8, 8, 1))
    for bundle, of, x in ((hill, "energy", X), (hill, "c[0]", X), (picture, "score", image)):
        f, tensor = to_torch(bundle, of), torch.from_numpy(x)
        captum = Saliency(f).attribute(tensor.clone().requires_grad_(), abs=False)
        np.testing.assert_allclose(explain.saliency(bundle, x, of, signed=True), captum.numpy(), rtol=1e-12, atol=1e-14)
        captum = IntegratedGradients(f).attribute(tensor.clone().requires_grad_(), n_steps=400)
        ours = explain.integrated_gradients(bundle, x, of)
        np.testing.assert_allclose(ours, captum.detach().numpy(), rtol=1e-3, atol=1e-3 * np.abs(ours).max())
