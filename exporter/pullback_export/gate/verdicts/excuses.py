"""All that excuses a derivative from central differences, each with its reason; ``docs/parity.md`` shows both tables.

What is excused still has to agree with the truth and with the laws between derivatives, and the report says so.
"""

from __future__ import annotations

# Operators, by the beginning of their name, whose gradient is a convention. A difference of what passes them is a
# warning: of those in HELD only where differences of what they declare agree, or cannot be had.
SURROGATES = {
    "StopGradient": "the model says that no derivative passes, although the value does",
    "PreventGradient": "TensorFlow has no derivative there, and says so where one is asked for",
    "FakeQuant": "rounding passes the gradient straight through, as training with quantisation wants it",
    "QuantizeAndDequantize": "rounding passes the gradient straight through, as training with quantisation wants it",
    "tf.custom_gradient": "the model, or a function of TensorFlow such as `tf.nn.silu`, brings a gradient of its own",
}
HELD = frozenset({"StopGradient", "tf.custom_gradient"})
# What cannot be judged, or says nothing.
NOT_JUDGED = {
    "inner layer": "its value cannot be moved by itself from outside",
    "several requests of one name": "their sum has no direction of its own; each alone is judged by the laws",
    "Laplacian of more than 32 components": "it would take two evaluations for each",
    "kink": "one-sided differences disagree there, so that there is no derivative to compare with",
    "no step settles": "extrapolated, differences agree as far as they are known, which is less than the bound",
}
