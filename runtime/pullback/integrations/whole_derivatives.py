"""Which results of a bundle are the whole Jacobian of an output with respect to an input; integrations look here."""

from __future__ import annotations

from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.manifest import DerivativeSpec, TensorSpec


def inputs_of(bundle: Bundle) -> tuple[TensorSpec, ...]:
    """The inputs of the model itself, without seeds."""
    return bundle.functions["evaluate"].spec.inputs


def values_of(bundle: Bundle) -> tuple[TensorSpec, ...]:
    """The outputs of the model itself, without derivatives."""
    spec = bundle.functions["evaluate"].spec
    derived = {item.name for item in spec.derivatives}
    return tuple(tensor for tensor in spec.outputs if tensor.name not in derived)


def jacobian_results(bundle: Bundle) -> dict[tuple[str, str], str]:
    """``{(of, wrt): result}`` of each gradient and Jacobian of a whole output by a whole input."""
    found = {}
    for item in bundle.functions["evaluate"].spec.derivatives:
        if item.kind in ("gradient", "jacobian") and is_whole(item) and item.scale == 1.0:
            found[item.of, item.wrt[0]] = item.name
    return found


def product_pairs(bundle: Bundle, kind: str) -> set[tuple[str, str]]:
    """``(of, wrt)`` of each product of a ``kind`` ("vjp", "jvp") of a whole output by a whole input."""
    if kind not in bundle.functions:
        return set()
    derivatives = bundle.functions[kind].spec.derivatives
    return {(item.of, item.wrt[0]) for item in derivatives if item.kind == kind and is_whole(item)}


def is_whole(item: DerivativeSpec) -> bool:
    """Whether it is of the whole output by whole inputs, nothing picked and nothing summed."""
    return item.of_selection.is_whole and all(selection.is_whole for selection in item.wrt_selections)


def fixed_shape(tensor: TensorSpec, batched: bool, what: str) -> tuple[int, ...]:
    """The shape of one sample; raises :class:`InputError` where an axis other than the batch is free."""
    shape = tensor.sample if batched else tensor.shape
    free = [str(size) for size in shape if not isinstance(size, int)]
    if free:
        raise InputError(
            f"{what}: {tensor.name!r} has the free axes {', '.join(free)}; export the model with fixed ones"
        )
    return tuple(size for size in shape if isinstance(size, int))
