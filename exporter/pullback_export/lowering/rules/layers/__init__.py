"""Operators behind Keras layers: convolutions, pooling, normalization, recurrent cells."""
