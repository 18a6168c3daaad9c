"""What travels between operators besides tensors: complex numbers, lists, optionals, resources."""
