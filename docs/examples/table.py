"""
Sensitivities of a tabular model
================================

By how much does a prediction change with each of its features, for this row, and over all rows? For a network these are
plain derivatives, exact and in the units of the table, where the scaling is part of the model.
"""

import keras
import numpy as np
from matplotlib import pyplot
from pullback import explain
from pullback_export import export
from sklearn.datasets import load_diabetes

# %%
# The table
# ---------
# 442 patients, ten measurements each, and a score of how far their diabetes had progressed a year later; it comes with
# scikit-learn. A small network is fitted to 342 of them. It takes the columns as they are: normalisation is its first
# layer.

table = load_diabetes(scaled=False)
names = [
    "age",
    "sex",
    "body mass index",
    "blood pressure",
    "total cholesterol",
    "LDL",
    "HDL",
    "TC/HDL",
    "triglycerides (log)",
    "glucose",
]
rows, score = table.data, table.target
order = np.random.default_rng(0).permutation(len(rows))
train, test = order[:342], order[342:]

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((10,), name="patient"),
        keras.layers.Normalization(mean=rows[train].mean(0), variance=rows[train].var(0)),
        keras.layers.Dense(16, "softplus", kernel_regularizer=keras.regularizers.L2(0.01)),
        keras.layers.Dense(16, "softplus", kernel_regularizer=keras.regularizers.L2(0.01)),
        keras.layers.Dense(1),
        keras.layers.Rescaling(score[train].std(), score[train].mean(), name="score"),
    ]
)
spread = float(score[train].std())
model.compile(keras.optimizers.Adam(3e-3), lambda true, found: keras.ops.mean(((true - found) / spread) ** 2))
model.fit(rows[train], score[train][:, None], batch_size=32, epochs=60, verbose=0)
left = model.predict(rows[test], verbose=0)[:, 0] - score[test]
print(f"{1 - np.var(left) / np.var(score[test]):.0%} of the variance of the other 100 patients is explained")

bundle = export(
    model, "patients.pullback", ["gradient(score, patient)"], samples={"patient": rows[test][:32]}, overwrite=True
)

# %%
# Every row, every feature
# ------------------------
# One call gives 100 predictions with 1000 derivatives. Multiplied by how much a feature varies among patients they can
# be compared with each other.

predicted, slopes = bundle(rows[test].astype("float32"))
per_deviation = slopes * rows.std(0)
for index in np.argsort(-np.abs(per_deviation).mean(0)):
    print(
        f"{names[index]:20s} {per_deviation[:, index].mean():+6.1f} per standard deviation, {slopes[:, index].mean():+8.3f} per unit"
    )

# %%
# A derivative is a promise about small changes; here is how it keeps one. Ten patients with a body mass index that is
# 0.1 higher:

higher = rows[test][:10].astype("float32")
higher[:, 2] += 0.1
change = bundle(higher).score - predicted[:10]
np.testing.assert_allclose(change[:, 0], 0.1 * slopes[:10, 2], rtol=0.05, atol=0.01)
print("changes:    ", change[:5, 0].round(3))
print("derivatives:", (0.1 * slopes[:5, 2]).round(3), "times 0.1")

# %%
# One patient
# -----------
# Integrated gradients add up to the difference between this patient and the average one.

patient = rows[test][np.argmax(predicted)]
parts = explain.integrated_gradients(bundle, patient, of="score", baseline=rows[train].mean(0))
print(f"{parts.sum():.1f} above the average patient's score")

# %%
figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
rank = np.argsort(np.abs(per_deviation).mean(0))
heights = np.random.default_rng(1).uniform(-0.25, 0.25, len(test))
for place, index in enumerate(rank):
    dots = left.scatter(
        per_deviation[:, index], place + heights, c=rows[test][:, index].argsort().argsort(), cmap="coolwarm", s=8
    )
left.axvline(0, color="black", linewidth=0.5)
left.set_yticks(range(10), [names[index] for index in rank])
left.set(xlabel="change of the score per standard deviation", title="100 patients, red: high value")
right.barh(range(10), parts[rank], color=["#2166ac" if part > 0 else "#d6604d" for part in parts[rank]])
right.axvline(0, color="black", linewidth=0.5)
right.set(xlabel="part of the score", title="the patient with the highest score")
pyplot.show()
