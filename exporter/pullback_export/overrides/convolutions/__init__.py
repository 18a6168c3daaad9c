"""Convolutions that TensorFlow computes wrongly, or that end its process, without oneDNN."""
