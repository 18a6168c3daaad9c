"""Layers of a Keras model while it is called: what one call of a layer returns passes through a function."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import keras
import tensorflow as tf
from keras.src.backend import get_keras_mask, set_keras_mask

from pullback_export.errors import ExportError
from pullback_export.sources.source import Tap, layer_call

# Their inner layers see one step at a time, or all steps as rows: never what a caller would take for their output.
_STEPWISE = ("TimeDistributed", "RNN")


def own_call(layer: Any) -> Callable[..., Any]:
    """What a layer computes, as it stands."""
    return cast(Callable[..., Any], layer.call)


@contextlib.contextmanager
def tapped(
    model: Any, wanted: Sequence[str], tap: Tap, call_of: Callable[[Any], Callable[..., Any]] = own_call
) -> Iterator[None]:
    """Lets the output of each wanted layer, or of one of its calls, pass through ``tap`` while the context lasts.

    The mask that Keras has set on an output goes with what ``tap`` returns. ``call_of`` gives what a layer computes.

    Raises :class:`ExportError` for a name that several layers have, a layer that is called several times where no call
    is named, one that is not called, one that returns something else than a tensor, and one within a loop.
    """
    layers: dict[str, list[Any]] = {}
    for layer in model._flatten_layers(include_self=False):
        layers.setdefault(layer.name, []).append(layer)
    calls = {name: layer_call(name, layers) for name in wanted}
    stepwise = {
        id(inner): outer.name for outer in _stepwise(model) for inner in outer._flatten_layers(include_self=False)
    }
    for name, (stem, _) in calls.items():
        if len(layers[stem]) > 1:
            raise ExportError(f"{len(layers[stem])} layers are named {stem!r}; give the one that is meant another name")
        if id(layers[stem][0]) in stepwise:
            raise ExportError(
                f"layer {name!r} is called by {stepwise[id(layers[stem][0])]!r}, step by step; name that layer instead"
            )
    taps = _Taps(calls, tap)
    with contextlib.ExitStack() as stack:
        for stem in {stem for stem, _ in calls.values()}:
            stack.enter_context(_called(layers[stem][0], taps.through(stem, call_of(layers[stem][0]))))
        yield
    taps.check_reached()


def _stepwise(model: Any) -> list[Any]:
    """Layers of Keras, or of ``tf_keras``, that call others once for each step."""
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if any(base.__name__ in _STEPWISE and "keras" in base.__module__.split(".")[0] for base in type(layer).__mro__)
    ]


@contextlib.contextmanager
def _called(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """``layer`` with another ``call``; contexts of one layer may be nested."""
    before = vars(layer).get("call")
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(layer, "call")
        else:
            object.__setattr__(layer, "call", before)


class _Taps:
    """Counts the calls of layers and lets the wanted ones through ``tap``."""

    def __init__(self, calls: dict[str, tuple[str, int | None]], tap: Tap) -> None:
        self.calls = calls
        self.tap = tap
        self.counts: Counter[str] = Counter()
        self.graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()

    def through(self, stem: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """``original`` of the layer ``stem`` with its results tapped."""

        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            number = self.counts[stem]
            self.counts[stem] += 1
            for name, (wanted, chosen) in self.calls.items():
                if wanted == stem and chosen in (None, number):
                    result = self._passed(name, result)
            return result

        # Layers of Keras 2 have AutoGraph convert what they find as their call.
        return cast(Callable[..., Any], tf.autograph.experimental.do_not_convert(call))

    def _passed(self, name: str, result: Any) -> Any:
        stem, chosen = self.calls[name]
        if chosen is None and self.counts[stem] > 1:
            raise ExportError(
                f"layer {stem!r} is called more than once; say which call is meant: {stem}#0, {stem}#1, ..."
            )
        if not (keras.ops.is_tensor(result) or tf.is_tensor(result)):
            raise ExportError(f"layer {name!r} returns {type(result).__name__}, not one tensor; name another layer")
        if (result.graph if tf.is_symbolic_tensor(result) else None) is not self.graph:
            raise ExportError(
                f"layer {name!r} is called inside of a loop, a branch or a tf.function of the model; name a layer"
                " around it"
            )
        mask = get_keras_mask(result)
        passed = self.tap(name, result)
        if mask is not None and get_keras_mask(passed) is None:
            set_keras_mask(passed, mask)
        return passed

    def check_reached(self) -> None:
        """Raises :class:`ExportError` where a wanted call did not take place."""
        for name, (stem, chosen) in self.calls.items():
            count = self.counts[stem]
            if count == 0:
                raise ExportError(f"layer {stem!r} was not reached when the model was called; name another layer")
            if chosen is not None and chosen >= count:
                last = f"{stem}#0" if count == 1 else f"{stem}#0 to {stem}#{count - 1}"
                raise ExportError(f"layer {name!r}: {stem} is called {count} times; write {last}")
