"""Why the network reads a digit as it does: saliency and Grad-CAM from a bundle, as a picture.

``python -m models.digits_picture demo`` trains the digit classifier, exports it, and writes ``demo/digits.png``.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import numpy as np
import pullback

Array = np.ndarray[Any, Any]


def main() -> int:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    folder.mkdir(parents=True, exist_ok=True)
    from pullback_export import export

    from models import digits

    images, labels = digits.load()
    print("Training the digit classifier")
    model = digits.train()
    right = np.argmax(model.predict(images[1500:], verbose=0), 1) == labels[1500:]
    print(f"{right.mean():.1%} of {len(right)} digits it had not seen are read correctly")
    requests = ["jacobian(logits, image)", "jacobian(logits, last_convolution)"]
    bundle = export(
        model,
        folder / "digits.pullback",
        requests,
        samples={"image": images[1500:1516]},
        overwrite=True,
        progress=print,
    )
    shown = [1500 + int(np.flatnonzero(labels[1500:] == digit)[0]) for digit in range(10)]
    print(f"Picture: {draw(folder / 'digits.png', images[shown], bundle)}")
    return 0


def explain(bundle: pullback.Bundle, images: Array) -> tuple[Array, Array, Array]:
    """The digit that is read, and for it the saliency and the Grad-CAM of each image, ``(B, 8, 8)`` from 0 to 1."""
    result = bundle(images)
    rows, read = np.arange(len(images)), result.logits.argmax(1)
    saliency = np.abs(result.dlogits_dimage[rows, read]).max(-1)
    weights = result.dlogits_dlast_convolution[rows, read].mean((1, 2))
    cam = np.maximum(np.einsum("bhwc,bc->bhw", result.last_convolution, weights), 0)
    return read, *(map_ / np.maximum(map_.max((1, 2), keepdims=True), 1e-12) for map_ in (saliency, cam))


def draw(path: pathlib.Path, images: Array, bundle: pullback.Bundle) -> pathlib.Path:
    """One column for each digit: the image, where the logit is sensitive, and where it comes from."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    read, saliency, cam = explain(bundle, images)
    figure, axes = pyplot.subplots(3, len(images), figsize=(0.8 * len(images), 2.75), layout="constrained")
    for column, image in enumerate(images[..., 0]):
        axes[0, column].imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axes[0, column].set_title(f"{read[column]}", fontsize=10, pad=3)
        axes[1, column].imshow(saliency[column], cmap="Blues", vmin=0, vmax=1)
        axes[2, column].imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axes[2, column].imshow(
            cam[column], cmap="autumn_r", vmin=0, vmax=1, alpha=0.8 * cam[column], interpolation="bilinear"
        )
    for row, label in enumerate(("digit, as read", "saliency", "Grad-CAM")):
        axes[row, 0].set_ylabel(label, fontsize=8)
    for one in axes.flat:
        one.set(xticks=[], yticks=[])
        for spine in one.spines.values():
            spine.set_visible(False)
    figure.savefig(path, dpi=200)
    pyplot.close(figure)
    return path


if __name__ == "__main__":
    sys.exit(main())
