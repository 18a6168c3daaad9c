"""``pullback.explain`` against Captum on the torch function of the same bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pullback
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Saliency
from pullback import explain
from pullback.integrations.torch import to_torch

from tests.frameworks import scene

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


class Scene(torch.nn.Module):
    """The network of :mod:`tests.frameworks.scene`: pictures ``(B, 3, rows, columns)`` to logits ``(B, 4)``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 5, 3, bias=False, dtype=torch.float64)
        self.last = torch.nn.Conv2d(5, 6, 3, stride=2, dtype=torch.float64)
        self.head = torch.nn.Linear(6, 4, bias=False, dtype=torch.float64)
        self.activations = torch.nn.ModuleDict({"first": torch.nn.ReLU(), "last": torch.nn.ReLU()})
        weights = {self.first: scene.FIRST, self.last: scene.LAST}
        with torch.no_grad():
            for layer, kernel in weights.items():
                layer.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
            self.last.bias.copy_(torch.from_numpy(scene.BIAS))
            self.head.weight.copy_(torch.from_numpy(scene.HEAD.T.copy()))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        hidden = self.activations["first"](self.first(pictures))
        hidden = self.activations["last"](self.last(hidden))
        logits: torch.Tensor = self.head(hidden.mean((2, 3)))
        return logits


@pytest.mark.parametrize("layer", ["first", "last"])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_grad_cam(layer: str, rows: int) -> None:
    """Of the whole network in torch, whose inner layer Captum hooks; classes by number, and one for each row."""
    bundle, network = pullback.load(scene.BUNDLE), Scene()
    pictures = np.random.default_rng(rows).normal(size=(rows, *scene.SHAPE))
    tensor = torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())
    np.testing.assert_allclose(bundle(pictures).logits, network(tensor).detach().numpy(), rtol=1e-12, atol=1e-13)
    captum = LayerGradCam(network, network.activations[layer])
    classes = [(row + 2) % 4 for row in range(rows)]
    for target, of in ((2, "logits[2]"), (classes, [f"logits[{number}]" for number in classes])):
        want = captum.attribute(tensor, target=target, relu_attributions=True).detach().numpy()[:, 0]
        found: Any = explain.grad_cam(bundle, pictures, of, layer)
        assert found.shape == want.shape == (rows, *bundle(pictures)._asdict()[layer].shape[1:3])
        np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-12 * want.max())
        assert want.max() > 0  # not every map is empty
