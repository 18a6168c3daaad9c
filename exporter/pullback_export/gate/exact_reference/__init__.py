"""An exact reference: the traced TensorFlow graph of values and derivatives, rewritten to float64.

Works for every source, since all that it reads is the graph that TensorFlow traced: a Keras model, a function, a
SavedModel, a ``tf.Module``. Nothing of the lowering to ONNX is used, so that an error there cannot repeat itself here.
"""

from pullback_export.gate.exact_reference.evaluation import ExactFunction, library_of
from pullback_export.gate.exact_reference.rewriting import Coverage

__all__ = ["Coverage", "ExactFunction", "library_of"]
