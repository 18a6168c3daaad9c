"""Ragged and sparse tensors, tensor lists."""
