"""Everything that exempts a derivative from central differences, with reasons; ``docs/parity.md`` shows both tables.

An exempt derivative must still agree with the truth and satisfy the laws, and the report mentions the exemption.
"""

from __future__ import annotations

# Operators, by the prefix of their name, whose gradient is a convention. A disagreement of a derivative through them is
# only a warning; for those in HELD, only if differences of what they declare agree or cannot be computed.
SURROGATES = {
    "StopGradient": "the model declares that no derivative passes, although the value does",
    "PreventGradient": "TensorFlow has no derivative there and raises an error if one is requested",
    "FakeQuant": "rounding passes the gradient straight through, as training with quantisation wants it",
    "QuantizeAndDequantize": "rounding passes the gradient straight through, as training with quantisation wants it",
    "NextAfter": "the neighbour among floats climbs in steps; TensorFlow takes the gradient of the line through them",
    "tf.custom_gradient": "the model, or a function of TensorFlow such as `tf.nn.silu`, brings a gradient of its own",
}
HELD = frozenset({"StopGradient", "tf.custom_gradient"})
# What central differences cannot check.
NOT_CHECKED = {
    "inner layer": "its value cannot be changed from outside",
    "several requests with one name": "their sum has no direction of its own; the laws check each one",
    "Laplacian of more than 32 components": "it would take two evaluations for each",
    "kink": "one-sided differences disagree there, so that there is no derivative to compare with",
    "no step converges": "extrapolated differences agree as far as their accuracy goes, which is less than required",
}
