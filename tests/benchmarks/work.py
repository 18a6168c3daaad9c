"""What is measured: networks, the derivative asked of each, and batch sizes. A row of the tables is data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

Build = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Work:
    """``build()`` gives a ``keras.Model`` from ``x`` to ``y``; ``kind`` of derivative: see :data:`KINDS`.

    ``component``: the output that is differentiated, where there are several. ``quick``: batches of ``--quick``.
    ``target``: the largest ratio to the fastest forward pass that counts as reached, by batch (None: any other batch).
    ``jax``: the transformation of JAX that gives its Jacobian.
    """

    name: str
    title: str
    build: Build
    shape: tuple[int, ...]
    kind: str = "gradient"
    batches: tuple[int, ...] = (1,)
    quick: tuple[int, ...] = ()
    component: int | None = None
    target: dict[int | None, float] = dataclasses.field(default_factory=dict)
    jax: str = "jacfwd"

    @property
    def request(self) -> str:
        """The derivative as an exporter request."""
        output = "y" if self.component is None else f"y[{self.component}]"
        return f"{self.kind}({output}, x)"

    def goal(self, batch: int) -> float | None:
        """The target at this batch size."""
        return self.target.get(batch, self.target.get(None))


KINDS = ("gradient", "jacobian", "hessian", "hvp")


def mlp(inputs: int, *hidden: int, outputs: int = 1, activation: str = "relu") -> Build:
    """A network of dense layers."""

    def build() -> Any:
        import keras

        layers = [keras.layers.Dense(width, activation, bias_initializer="random_normal") for width in hidden]
        return keras.Sequential([keras.Input((inputs,), name="x"), *layers, keras.layers.Dense(outputs, name="y")])

    return build


IMAGE = (224, 224, 3)


def application(name: str) -> Build:
    """A network of ``keras.applications`` for 224 x 224 images, with random weights."""

    def build() -> Any:
        import keras

        x = keras.Input(IMAGE, name="x")
        return getattr(keras.applications, name)(weights=None, input_tensor=x, classifier_activation=None)

    return build


def transformer(layers: int = 4, width: int = 256, tokens: int = 128, heads: int = 4) -> Build:
    """An encoder with normalisation first; one number per sequence."""

    def build() -> Any:
        import keras

        k = keras.layers
        x = keras.Input((tokens, width), name="x")
        hidden = x
        for _ in range(layers):
            normal = k.LayerNormalization()(hidden)
            hidden = k.Add()([hidden, k.MultiHeadAttention(heads, width // heads)(normal, normal)])
            normal = k.LayerNormalization()(hidden)
            hidden = k.Add()([hidden, k.Dense(width)(k.Dense(4 * width, "gelu")(normal))])
        pooled = k.GlobalAveragePooling1D()(k.LayerNormalization()(hidden))
        return keras.Model(x, k.Dense(1, name="y")(pooled))

    return build


def recurrent(kind: str = "LSTM", units: int = 64, steps: int = 200, features: int = 16) -> Build:
    """One recurrent layer; one number per sequence."""

    def build() -> Any:
        import keras

        x = keras.Input((steps, features), name="x")
        return keras.Model(x, keras.layers.Dense(1, name="y")(getattr(keras.layers, kind)(units)(x)))

    return build


def bidirectional(units: int = 32, steps: int = 100, features: int = 16) -> Build:
    """Two layers of LSTM in both directions over sequences that end in rows of zeros; one number per sequence."""

    def build() -> Any:
        import keras

        k = keras.layers
        x = keras.Input((steps, features), name="x")
        states = k.Bidirectional(k.LSTM(units, return_sequences=True))(k.Masking()(x))
        return keras.Model(x, k.Dense(1, name="y")(k.Bidirectional(k.LSTM(units))(states)))

    return build


def unet(side: int = 160, widths: tuple[int, ...] = (16, 32, 64, 128)) -> Build:
    """Two convolutions at each resolution, joined across; the mean of the map that comes out."""

    def build() -> Any:
        import keras

        k = keras.layers

        def pair(hidden: Any, width: int) -> Any:
            for _ in range(2):
                hidden = k.Conv2D(width, 3, padding="same", activation="relu")(hidden)
            return hidden

        x = hidden = keras.Input((side, side, 3), name="x")
        joined = []
        for width in widths[:-1]:
            joined.append(pair(hidden, width))
            hidden = k.MaxPooling2D()(joined[-1])
        hidden = pair(hidden, widths[-1])
        for width, other in zip(widths[-2::-1], joined[::-1], strict=True):
            raised = k.Conv2DTranspose(width, 2, strides=2, padding="same")(hidden)
            hidden = pair(k.Concatenate()([raised, other]), width)
        return keras.Model(x, k.GlobalAveragePooling2D(name="y")(k.Conv2D(1, 1)(hidden)))

    return build


def _sizes(*rest: int) -> tuple[int, ...]:
    return (1, 64, 4096, 65536, *rest)


def _at(ratio: float) -> dict[int | None, float]:
    return {None: ratio}


_RECURRENT: dict[int | None, float] = {1: 6.0, 32: 2.6}

ROWS: tuple[Work, ...] = (
    Work(
        "bowl",
        "bowl MLP 1-64-32-32-1",
        mlp(1, 64, 32, 32),
        (1,),
        batches=_sizes(),
        quick=(1, 64, 4096),
        target={1: 1.8, None: 2.5},
    ),
    Work(
        "surrogate",
        "surrogate MLP 10-256-256-256-1",
        mlp(10, 256, 256, 256),
        (10,),
        batches=_sizes(),
        quick=(1, 64),
        target={64: 2.1, 4096: 2.1, 65536: 2.1},
    ),
    Work(
        "resnet50", "ResNet50, 224 x 224", application("ResNet50"), IMAGE, batches=(1, 8), component=0, target=_at(2.2)
    ),
    Work("mobilenet_v2", "MobileNetV2, 224 x 224", application("MobileNetV2"), IMAGE, component=0, target=_at(2.6)),
    Work(
        "efficientnet_b0",
        "EfficientNetB0, 224 x 224",
        application("EfficientNetB0"),
        IMAGE,
        component=0,
        target=_at(2.4),
    ),
    Work("densenet121", "DenseNet121, 224 x 224", application("DenseNet121"), IMAGE, component=0, target=_at(2.5)),
    Work("convnext_tiny", "ConvNeXtTiny, 224 x 224", application("ConvNeXtTiny"), IMAGE, component=0, target=_at(2.5)),
    Work("unet", "U-Net, 160 x 160", unet(), (160, 160, 3), target=_at(2.5)),
    Work(
        "transformer",
        "transformer encoder, 4 layers, d = 256, T = 128",
        transformer(),
        (128, 256),
        batches=(1, 8),
        target=_at(2.3),
    ),
    Work("lstm", "LSTM(64), 200 steps of 16", recurrent(), (200, 16), batches=(1, 32), target=_RECURRENT),
    Work(
        "lstm_48",
        "LSTM(48), 120 steps of 12",
        recurrent("LSTM", 48, 120, 12),
        (120, 12),
        batches=(1, 32),
        target=_RECURRENT,
    ),
    Work(
        "gru_48",
        "GRU(48), 120 steps of 12",
        recurrent("GRU", 48, 120, 12),
        (120, 12),
        batches=(1, 32),
        target=_RECURRENT,
    ),
    Work(
        "bidirectional",
        "two LSTM(32), both directions, masked, 100 steps of 16",
        bidirectional(),
        (100, 16),
        batches=(1, 32),
        target=_RECURRENT,
    ),
    Work(
        "jacobian",
        "Jacobian of an MLP 3-32-32-4",
        mlp(3, 32, 32, outputs=4, activation="tanh"),
        (3,),
        "jacobian",
        batches=(1, 1000),
        quick=(1000,),
        target={1000: 4.0},
    ),
    Work(
        "jacobian_1000",
        "Jacobian of an MLP 10-64-1000 (JAX: jacrev)",
        mlp(10, 64, outputs=1000, activation="tanh"),
        (10,),
        "jacobian",
        batches=(1,),
        quick=(1,),
        jax="jacrev",
    ),
    Work(
        "hessian",
        "Hessian of an MLP 10-64-64-1",
        mlp(10, 64, 64, activation="tanh"),
        (10,),
        "hessian",
        batches=(1, 1000),
        quick=(1000,),
        target={None: 25.0},
    ),
    Work(
        "hvp",
        "Hessian-vector product of an MLP 10-64-64-1",
        mlp(10, 64, 64, activation="tanh"),
        (10,),
        "hvp",
        batches=(1, 1000),
        quick=(1000,),
        target={None: 5.0},
    ),
)


def row(name: str) -> Work:
    """The row with that name."""
    return next(work for work in ROWS if work.name == name)
