"""
Grad-CAM of a photograph
========================

Which part of a picture makes a network say what it says? Grad-CAM weighs the channels of the last convolution by the
derivative of the answer with respect to them. A bundle gives both, activation and derivative, in one call.
"""

import keras
import numpy as np
from matplotlib import pyplot
from pullback import explain
from pullback_export import export
from sklearn.datasets import load_sample_images

# %%
# Two photographs
# ---------------
# A temple and a flower, the pictures that come with scikit-learn (both CC-BY, by Andrea Schieber and by dany13). A small
# network learns to tell cuttings of the one from cuttings of the other. It never sees where anything is.

temple, flower = (picture[::3, ::3].astype("float32") / 255 for picture in load_sample_images().images)
SIZE = 48
rng = np.random.default_rng(0)


def cuttings(picture, count):
    rows, columns = (rng.integers(0, length - SIZE, count) for length in picture.shape[:2])
    cut = np.stack([picture[row : row + SIZE, column : column + SIZE] for row, column in zip(rows, columns)])
    cut[::2] = cut[::2, :, ::-1]
    return cut * rng.uniform(0.7, 1.3, (count, 1, 1, 1)).astype("float32")


pieces = np.concatenate([cuttings(temple, 600), cuttings(flower, 600)])
labels = np.repeat([0, 1], 600)

# %%
# The network takes pictures of any size: convolutions, and a mean over what is left of height and width.

keras.utils.set_random_seed(0)
image = keras.Input((None, None, 3), name="image")
x = keras.layers.Conv2D(16, 5, strides=2, padding="same", activation="relu")(image)
x = keras.layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(x)
x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="last_convolution")(x)
logits = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
model = keras.Model(image, logits)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
order = rng.permutation(len(pieces))
model.fit(pieces[order], labels[order], batch_size=32, epochs=6, verbose=0)
print(f"{model.evaluate(pieces, labels, verbose=0)[1]:.1%} of the cuttings are told apart")

# %%
# The bundle
# ----------
# An inner layer is requested by its name. The samples are the two photographs.

height, width = temple.shape[:2]
photographs = np.stack([temple, flower])
bundle = export(
    model,
    "photograph.pullback",
    ["jacobian(logits, last_convolution)", "jacobian(logits, image)"],
    samples={"image": photographs[:, :64, :64]},
    overwrite=True,
)

# %%
# What speaks for what
# --------------------
# A picture that nobody took, the left half of the temple beside the right half of the flower: the evidence for each of
# the two answers has to be on its own side.

montage = np.concatenate([temple[:, : width // 2], flower[:, width // 2 :]], 1)
pictures, answers = (temple, flower, montage), ("temple", "flower")
figure, panels = pyplot.subplots(3, 3, figsize=(9, 6.2), layout="constrained")
for row, picture in zip(panels, pictures):
    row[0].imshow(picture)
    for index, axes in enumerate(row[1:]):
        evidence = explain.grad_cam(bundle, picture, of=f"logits[{index}]", layer="last_convolution")
        axes.imshow(picture.mean(-1), cmap="gray", extent=(0, width, height, 0))
        shade = axes.imshow(evidence, cmap="inferno", alpha=0.6, extent=(0, width, height, 0), interpolation="bilinear")
        if picture is montage:
            side = np.split(evidence, [evidence.shape[1] // 2], 1)[index].sum() / evidence.sum()
            print(f"{side:.0%} of the evidence for the {answers[index]} are on its side")
            assert side > 0.8
for axes, title in zip(panels[0], ("picture", "speaks for the temple", "speaks for the flower")):
    axes.set_title(title)
for axes in panels.flat:
    axes.set(xticks=[], yticks=[])
pyplot.show()

# %%
# What the maps say is worth a look before one trusts the 100 %: for this network the sky is the best evidence for the
# temple, and dark leaves count for the flower as much as the flower does. It learnt to tell two photographs apart, no more.
