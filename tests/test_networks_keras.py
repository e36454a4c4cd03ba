"""Keras networks as torch modules: each layer against Keras itself, and nothing of a file ever run."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch
from keras import layers as K
from torch import nn

from simdl import Diagram, Input, Output, Slot, simulate
from simdl.errors import NetworkError
from simdl.networks import Imported, Network, Recurrent, Window, open_network
from simdl.slots import swap
from simdl.slots.slot import Place

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Model = Any
TOLERANCE = 2e-5  # Keras on torch rounds products to float32, whatever the type of the layer


def scrambled(model: Model) -> Model:
    """Weights that are none of the initial ones, variances above zero."""
    draw = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if not list(layer._flatten_layers(recursive=False, include_self=False)) and layer.weights:
            layer.set_weights([
                draw.uniform(0.5, 1.5, w.shape) if w.ndim == 1 and "Normalization" in type(layer).__name__
                else draw.normal(0, 0.5, w.shape)
                for w in layer.get_weights()
            ])  # fmt: skip
    return model


def values(model: Model, count: int = 7) -> list[Any]:
    draw = np.random.default_rng(2)
    shapes = [tuple(6 if n is None else n for n in one.shape[1:]) for one in model.inputs]
    return [draw.integers(0, 5, (count, *s)).astype("int64") if "int" in str(one.dtype) else
            draw.normal(0, 1, (count, *s)).astype(str(one.dtype)) for s, one in zip(shapes, model.inputs)]  # fmt: skip


def predicted(model: Model, inputs: list[Any]) -> list[Any]:
    found = model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
    return found if isinstance(found, list) else [found]


def assert_same(model: Model, path: Path, **options: Any) -> Imported:
    """Save, open, and compare with the model that was saved."""
    model.save(path)
    opened = open_network(path, **options)
    inputs = values(model)
    with torch.no_grad():
        result = opened.module(*(torch.tensor(x) for x in inputs))
    found = result if isinstance(result, tuple) else (result,)
    wanted = predicted(model, inputs)
    assert len(found) == len(wanted) == len(opened.outputs)
    for ours, theirs in zip(found, wanted):
        assert str(ours.dtype) == f"torch.{model.dtype_policy.name}"
        scale = max(1.0, float(np.abs(theirs).max()))
        assert np.abs(ours.numpy() - theirs).max() <= TOLERANCE * scale
    assert opened.check is not None and opened.check.agrees and "Keras" in opened.check.against
    return opened


def chain(shape: tuple[int | None, ...], *parts: Model) -> Callable[[], Model]:
    return lambda: keras.Sequential([keras.Input(shape), *parts])


ACTIVATIONS = (
    "relu relu6 leaky_relu elu selu celu softplus softsign silu sigmoid tanh hard_sigmoid hard_silu gelu mish softmax "
    "log_softmax exponential"
).split()
LAYERS: dict[str, Callable[[], Model]] = {
    "dense": lambda: keras.Sequential([keras.Input((3,)), K.Dense(4, "tanh"), K.Dense(2, use_bias=False)]),
    "dense over axes": lambda: keras.Sequential([keras.Input((5, 3)), K.Dense(4, "relu")]),
    "dropout": lambda: keras.Sequential([keras.Input((3,)), K.Dense(4), K.Dropout(0.5), K.GaussianNoise(0.3)]),
    **{f"conv1d {padding} {strides} {dilation}": (lambda p=padding, s=strides, d=dilation: keras.Sequential(
        [keras.Input((11, 3)), K.Conv1D(4, 3, strides=s, padding=p, dilation_rate=d, activation="relu")]))
       for padding in ("valid", "same", "causal") for strides, dilation in ((1, 1), (2, 1), (1, 3))},
    **{f"conv2d {padding} {strides}": (lambda p=padding, s=strides: keras.Sequential(
        [keras.Input((7, 6, 2)), K.Conv2D(4, (3, 2), strides=s, padding=p, activation="tanh")]))
       for padding in ("valid", "same") for strides in ((1, 1), (2, 3))},
    "conv2d groups": lambda: keras.Sequential([keras.Input((6, 6, 4)), K.Conv2D(8, 3, groups=2, use_bias=False)]),
    "conv2d softmax": lambda: keras.Sequential([keras.Input((6, 6, 4)), K.Conv2D(3, 3, activation="softmax")]),
    "conv2d channels first": lambda: keras.Sequential(
        [keras.Input((2, 6, 5)), K.Conv2D(3, 3, data_format="channels_first"), K.Flatten("channels_first")]),
    "depthwise 1d": lambda: keras.Sequential([keras.Input((9, 3)), K.DepthwiseConv1D(3, depth_multiplier=2)]),
    "depthwise 2d": lambda: keras.Sequential(
        [keras.Input((7, 7, 3)), K.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)]),
    "separable 1d": lambda: keras.Sequential([keras.Input((9, 3)), K.SeparableConv1D(5, 3, padding="same")]),
    "separable 2d": lambda: keras.Sequential([keras.Input((7, 7, 3)), K.SeparableConv2D(5, 3, depth_multiplier=2)]),
    **{f"{kind.__name__} {padding}": (lambda k=kind, p=padding, s=shape: keras.Sequential(
        [keras.Input(s), k(3, strides=2, padding=p)]))
       for kind, shape in ((K.MaxPooling1D, (8, 3)), (K.AveragePooling1D, (9, 3)), (K.MaxPooling2D, (8, 7, 3)),
                           (K.AveragePooling2D, (9, 7, 3))) for padding in ("valid", "same")},
    **{f"{kind.__name__} {keep}": (lambda k=kind, s=shape, h=keep: keras.Sequential([keras.Input(s), k(keepdims=h)]))
       for kind, shape in ((K.GlobalMaxPooling1D, (8, 3)), (K.GlobalAveragePooling1D, (8, 3)),
                           (K.GlobalMaxPooling2D, (8, 7, 3)), (K.GlobalAveragePooling2D, (8, 7, 3)))
       for keep in (False, True)},
    "shapes": lambda: keras.Sequential(
        [keras.Input((4, 6)), K.Reshape((4, 2, 3)), K.Permute((3, 1, 2)), K.Flatten(), K.RepeatVector(3),
         K.Reshape((-1, 8))]),
    "edges 1d": lambda: keras.Sequential(
        [keras.Input((6, 2)), K.ZeroPadding1D((1, 2)), K.Cropping1D((2, 0)), K.UpSampling1D(3)]),
    "edges 2d": lambda: keras.Sequential(
        [keras.Input((6, 5, 2)), K.ZeroPadding2D(((1, 2), (0, 3))), K.Cropping2D(((0, 1), (2, 1))),
         K.UpSampling2D((2, 3))]),
    "batch norm": lambda: keras.Sequential([keras.Input((5, 3)), K.BatchNormalization(epsilon=0.01)]),
    "batch norm axis 1": lambda: keras.Sequential([keras.Input((5, 3)), K.BatchNormalization(axis=1, scale=False)]),
    "layer norm": lambda: keras.Sequential([keras.Input((5, 3)), K.LayerNormalization(epsilon=0.01)]),
    "normalization": lambda: keras.Sequential([keras.Input((5, 3)), K.Normalization()]),
    "normalization given": lambda: keras.Sequential(
        [keras.Input((3,)), K.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 0.25, 1.0]), K.Dense(2),
         K.Normalization(mean=[1.0, -1.0], variance=[4.0, 9.0], invert=True)]),
    "rescaling": lambda: keras.Sequential([keras.Input((4, 4, 3)), K.Rescaling(1 / 127.5, -1.0)]),
    "activation layers": lambda: keras.Sequential(
        [keras.Input((5,)), K.LeakyReLU(0.1), K.ELU(0.7), K.PReLU(), K.ReLU(2.0, 0.1, 0.05), K.Softmax()]),
    **{f"activation {name}": (lambda n=name: keras.Sequential([keras.Input((5,)), K.Activation(n)]))
       for name in ACTIVATIONS},
    "embedding": lambda: keras.Sequential(
        [keras.Input((6,), dtype="int32"), K.Embedding(5, 3), K.GlobalAveragePooling1D()]),
    **{f"{kind.__name__} {options}": (lambda k=kind, o=options: keras.Sequential([keras.Input((6, 3)), k(4, **o)]))
       for kind, options in (
        (K.LSTM, {}), (K.LSTM, {"return_sequences": True}), (K.LSTM, {"go_backwards": True}),
        (K.LSTM, {"activation": "softsign", "recurrent_activation": "hard_sigmoid", "use_bias": False}),
        (K.GRU, {}), (K.GRU, {"reset_after": False}), (K.GRU, {"return_sequences": True, "reset_after": False}),
        (K.GRU, {"use_bias": False}), (K.GRU, {"activation": "relu", "return_sequences": True}),
        (K.SimpleRNN, {}), (K.SimpleRNN, {"activation": "relu", "return_sequences": True}),
        (K.SimpleRNN, {"return_sequences": True, "go_backwards": True}))},
    **{f"bidirectional {mode} {sequences}": (lambda m=mode, s=sequences: keras.Sequential(
        [keras.Input((6, 3)), K.Bidirectional(K.LSTM(4, return_sequences=s), merge_mode=m)]))
       for mode in ("concat", "sum", "mul", "ave") for sequences in (False, True)},
    "bidirectional gru": lambda: keras.Sequential(
        [keras.Input((6, 3)), K.Bidirectional(K.GRU(4, reset_after=False, return_sequences=True))]),
    "time distributed": lambda: keras.Sequential(
        [keras.Input((4, 6, 5, 2)), K.TimeDistributed(K.Conv2D(3, 3)), K.TimeDistributed(K.Flatten()),
         K.TimeDistributed(K.Dense(4, "tanh"))]),
    "nested": lambda: keras.Sequential(
        [keras.Input((3,)), K.Dense(4), keras.Sequential([keras.Input((4,)), K.Dense(5, "tanh"), K.Dense(2)]),
         K.Dense(3)]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_keras_does(tmp_path: Path, name: str, dtype: str) -> None:
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        opened = assert_same(scrambled(LAYERS[name]()), tmp_path / "net.keras")
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert opened.format == "Keras" and not opened.recurrent
    pickle.loads(pickle.dumps(opened.module))


def test_float64_stays_float64(tmp_path: Path) -> None:
    """Against NumPy: Keras itself is no better than float32 here."""
    model = scrambled(keras.Sequential(
        [keras.Input((3,), dtype="float64"), K.Dense(50, "tanh", dtype="float64"), K.Dense(2, dtype="float64")]))
    model.save(tmp_path / "net.keras")
    a, b, c, d = model.get_weights()
    x = np.random.default_rng(4).normal(size=(20, 3))
    found = open_network(tmp_path / "net.keras").module(torch.tensor(x)).detach().numpy()
    assert found.dtype == np.float64 and np.abs(found - (np.tanh(x @ a + b) @ c + d)).max() < 1e-13


def functional() -> Model:
    """Two inputs, a layer used twice, every merge, attention, two outputs."""
    a, b = keras.Input((4, 6), name="left"), keras.Input((4, 6), name="right")
    shared = K.Dense(6, "tanh")
    x, y = shared(a), shared(b)
    z = K.MultiHeadAttention(2, 3, value_dim=5)(x, y, use_causal_mask=True)
    z = K.LayerNormalization()(K.Add()([z, x]))
    parts = [K.Multiply()([z, y]), K.Subtract()([z, y]), K.Average()([x, y, z]), K.Maximum()([x, z]),
             K.Minimum()([x, z])]  # fmt: skip
    joined = K.Concatenate()(parts)
    last = K.GlobalMaxPooling1D()(K.Concatenate(axis=1)([x, y]))
    return keras.Model([b, a], [K.Dense(2, name="first")(joined), last])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_graph_computes_what_keras_does(tmp_path: Path, suffix: str) -> None:
    opened = assert_same(scrambled(functional()), tmp_path / f"net{suffix}")
    assert list(opened.inputs) == ["right", "left"] and list(opened.outputs) == ["first", "y"]
    block = opened.block(period="1 s")
    assert [block.declared()[name].shape for name in ("right", "left", "first", "y")] == [(4, 6), (4, 6), (4, 2), (6,)]


def inner() -> Model:
    x = keras.Input((3,))
    return keras.Model(x, [K.Dense(4, "tanh")(x), K.Dense(4)(x)])


def test_models_inside_models_keep_their_weights_and_results(tmp_path: Path) -> None:
    part, x, z = inner(), keras.Input((3,)), keras.Input((3,))
    a, b = part(x)
    c, _ = part(z)
    assert_same(scrambled(keras.Model([x, z], K.Add()([a, K.Multiply()([b, c])]))), tmp_path / "net.keras")


@pytest.mark.parametrize("name", ["dense", "LSTM {}", "GRU {}", "batch norm", "bidirectional sum True", "embedding",
                                  "conv2d same (2, 3)", "normalization", "separable 2d"])  # fmt: skip
def test_the_older_format_holds_the_same(tmp_path: Path, name: str) -> None:
    model = scrambled(LAYERS[name]())
    opened = assert_same(model, tmp_path / "net.h5")
    model.save(tmp_path / "net.keras")
    other = open_network(tmp_path / "net.keras")
    x = [torch.tensor(one) for one in values(model)]
    assert torch.equal(opened.module(*x), other.module(*x))


def test_gradients_reach_every_weight(tmp_path: Path) -> None:
    opened = assert_same(scrambled(functional()), tmp_path / "net.keras")
    result = opened.module(torch.randn(3, 4, 6), torch.randn(3, 4, 6))
    (result[0].square().sum() + result[1].sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in opened.module.named_parameters()
               if "key" not in n or "bias" not in n)  # fmt: skip


def recurrent(length: int | None = None, **options: Any) -> Model:
    return scrambled(keras.Sequential(
        [keras.Input((length, 2)), K.GRU(5, return_sequences=True, **options), K.LSTM(4, return_sequences=True),
         K.Dense(1)]))  # fmt: skip


@pytest.mark.parametrize("after", [True, False])
def test_a_recurrent_network_is_stepped_to_what_keras_gives_for_the_whole(tmp_path: Path, after: bool) -> None:
    model = recurrent(reset_after=after)
    opened = assert_same(model, tmp_path / "net.keras")
    assert opened.recurrent and opened.inputs["x"].shape == (2,) and opened.outputs["y"].shape == ()
    block = opened.block(period="1 s", inputs=("v", "i"), outputs=("soc",))
    assert isinstance(block, Recurrent) and block.deviation is not None and block.deviation < 1e-5
    x = np.random.default_rng(3).normal(size=(1, 9, 2)).astype("float32")
    wanted = model.predict_on_batch(x)[0, :, 0]

    class Loop(Diagram):
        v, i, out = Input(), Input(), Output()

        def __init__(self) -> None:
            self.net = opened.block(period="1 s", inputs=("v", "i"), outputs=("soc",))
            self.net.v, self.net.i = self.v, self.i
            self.out = self.net.soc

    t = np.arange(9.0)
    for engine in ("torch", "native"):
        signals = {name: (t, x[0, :, n].astype("float64")) for n, name in enumerate("vi")}
        found = simulate(Loop(), until=8, inputs=signals, record=["out"], every=1.0, engine=engine)["out"].values[0]
        assert np.abs(found.numpy() - wanted).max() < 1e-5


def test_a_window_is_given_whole_or_stepped_as_one_says(tmp_path: Path) -> None:
    recurrent(8).save(tmp_path / "net.keras")
    opened = open_network(tmp_path / "net.keras")
    assert not opened.recurrent and opened.inputs["x"].shape == (8, 2)
    assert any("windows of 8 samples" in note for note in opened.notes)
    assert open_network(tmp_path / "net.keras", stepped=True).recurrent
    slot = Slot("s", {"v": Input(), "i": Input()}, {"y": Output(shape=(8, 1))}, period="1 s")
    assert isinstance(slot.place(tmp_path / "net.keras").inside.window, Window)


@pytest.mark.parametrize("kind", [K.LSTM, K.GRU, K.SimpleRNN])
@pytest.mark.parametrize("samples", [1, 3])
def test_a_stateful_layer_goes_on_where_the_last_call_ended(tmp_path: Path, kind: Any, samples: int) -> None:
    layers = [keras.Input(batch_shape=(1, samples, 2)), kind(4, stateful=True, return_sequences=True),
              kind(3, stateful=True), K.Dense(1)]  # fmt: skip
    model = scrambled(keras.Sequential(layers))
    model.save(tmp_path / "net.keras")
    x = np.random.default_rng(5).normal(size=(1, 12, 2)).astype("float32")
    model.reset_states() if hasattr(model, "reset_states") else [one.reset_states() for one in model.layers[:2]]
    wanted = [float(model.predict_on_batch(x[:, k : k + samples])[0, 0]) for k in range(0, 12, samples)]
    opened = open_network(tmp_path / "net.keras")
    assert opened.recurrent and any("stateful in the file" in note for note in opened.notes)
    block = opened.block(period="1 s", inputs=("v", "i"), outputs=("soc",))
    assert isinstance(block, Recurrent)

    class Driven(Diagram):
        v, i, out = Input(), Input(), Output()

        def __init__(self) -> None:
            self.net = block
            self.net.v, self.net.i = self.v, self.i
            self.out = self.net.soc

    t = np.arange(12.0)
    signals = {name: (t, x[0, :, n].astype("float64")) for n, name in enumerate("vi")}
    found = simulate(Driven(), until=11, inputs=signals, record=["out"], every=1.0)["out"].values[0]
    assert np.abs(found.numpy()[samples - 1 :: samples] - wanted).max() < 1e-5
    whole = open_network(tmp_path / "net.keras", stepped=False)
    assert not whole.recurrent and any("forgotten after each window" in note for note in whole.notes)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([K.LSTM(3, stateful=True, return_sequences=True), K.GRU(3)], "starts anew at every call"),
        ([K.LSTM(3, stateful=True, go_backwards=True)], "reads the last sample first"),
        ([K.Bidirectional(K.LSTM(3, stateful=True))], "reads the last sample first"),
    ],
)
def test_a_stateful_layer_that_no_tick_could_hand_on_is_refused(tmp_path: Path, parts: list[Any], said: str) -> None:
    keras.Sequential([keras.Input(batch_shape=(1, 4, 2)), *parts]).save(tmp_path / "net.keras")
    with pytest.raises(NetworkError, match=f"(?s)stateful, and .*{said}.*stepped=False"):
        open_network(tmp_path / "net.keras")
    assert not open_network(tmp_path / "net.keras", stepped=False).recurrent


@pytest.mark.parametrize("part", [K.Bidirectional(K.LSTM(3)), K.LSTM(3, go_backwards=True), K.GlobalMaxPooling1D()])
def test_what_reads_the_future_is_not_stepped(tmp_path: Path, part: Model) -> None:
    keras.Sequential([keras.Input((None, 2)), part]).save(tmp_path / "net.keras")
    assert not open_network(tmp_path / "net.keras").recurrent
    with pytest.raises(NetworkError, match="reads the last sample first|no recurrent layer to step"):
        open_network(tmp_path / "net.keras", stepped=True)


class Loop(Diagram):
    """A slot with two inputs, filled by a network."""

    out = Output()

    def __init__(self, place: Place) -> None:
        self.part = place
        self.part.a, self.part.b = 0.25, -0.5
        self.out = self.part.y


def test_a_keras_file_fills_a_slot_in_both_engines(tmp_path: Path) -> None:
    model = scrambled(keras.Sequential([keras.Input((2,)), K.Dense(8, "tanh"), K.BatchNormalization(), K.Dense(1)]))
    model.save(tmp_path / "net.keras")
    slot = Slot("s", {"a": Input(), "b": Input()}, {"y": Output()}, period="1 s")
    loop = swap(Loop(slot.place(nn.Linear(2, 1))), s=tmp_path / "net.keras")
    wanted = model.predict_on_batch(np.array([[0.25, -0.5]], dtype="float32"))[0, 0]
    for engine in ("torch", "native"):
        found = simulate(loop, until=2, engine=engine)
        assert float(found["out"].at(1.0)) == pytest.approx(float(wanted), rel=1e-5)
        assert found.engine == engine


def test_an_image_network_keeps_keras_axes_in_both_engines(tmp_path: Path) -> None:
    model = scrambled(keras.Sequential(
        [keras.Input((6, 5, 2)), K.Conv2D(4, 3, padding="same", strides=2, activation="relu"), K.MaxPooling2D(2),
         K.Flatten(), K.Dense(3)]))  # fmt: skip
    model.save(tmp_path / "net.keras")
    image = np.random.default_rng(0).normal(size=(6, 5, 2)).astype("float32")

    class Camera(Diagram):
        frame, out = Input(shape=(6, 5, 2)), Output(shape=(3,))

        def __init__(self) -> None:
            self.net: Network = open_network(tmp_path / "net.keras").block(period="1 s")
            self.net.x = self.frame
            self.out = self.net.y

    wanted = model.predict_on_batch(image[None])[0]
    for engine in ("torch", "native"):
        run = simulate(Camera(), until=1, inputs={"frame": torch.tensor(image).double()}, engine=engine)
        assert np.abs(run["out"].at(0.0)[0].numpy() - wanted).max() < 1e-5


def test_all_unknown_layers_are_named_at_once(tmp_path: Path) -> None:
    model = keras.Sequential([
        keras.Input((8, 8, 3)), K.Conv2DTranspose(2, 3, name="grow"), K.Lambda(lambda x: x + 1, name="code"),
        K.Conv2D(2, 3, name="fine"), K.UpSampling2D(2, interpolation="bilinear", name="smooth"),
    ])  # fmt: skip
    model.save(tmp_path / "net.keras")
    with pytest.raises(NetworkError) as error:
        open_network(tmp_path / "net.keras")
    text = str(error.value)
    for line in ("grow (Conv2DTranspose): a layer that is not known", "code (Lambda): Python code of the file",
                 "smooth (UpSampling2D): interpolation='bilinear'"):  # fmt: skip
        assert line in text
    assert "fine" not in text


@pytest.mark.parametrize(("parts", "found"), [
    ([K.Embedding(5, 3, mask_zero=True)], "mask_zero"),
    ([K.Embedding(5, 3), K.LSTM(3, return_state=True)], "return_state"),
    ([K.Dense(3, dtype="float64"), K.Dense(2, dtype="float32")], "several float types"),
    ([K.Dense(3, dtype="float16")], "the type 'float16'"),
    ([K.Dense(3, dtype="bfloat16")], "values of type"),
    ([K.Reshape((6, 1)), K.AveragePooling1D(3, 2, padding="same")], "on which Keras' backends differ"),
])  # fmt: skip
def test_what_would_change_the_result_is_refused(tmp_path: Path, parts: list[Model], found: str) -> None:
    x = keras.Input((6,))
    y: Any = x
    for part in parts:
        y = part(y)
    keras.Model(x, y).save(tmp_path / "net.keras")
    with pytest.raises(NetworkError, match=found):
        open_network(tmp_path / "net.keras")


def test_a_wrong_conversion_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simdl.networks.keras.layers import ACTIVATIONS

    keras.Sequential([keras.Input((3,)), K.Dense(4, "tanh")]).save(tmp_path / "net.keras")
    monkeypatch.setitem(ACTIVATIONS, "tanh", nn.Sigmoid)
    with pytest.raises(NetworkError, match="DIFFERS with Keras"):
        open_network(tmp_path / "net.keras")


OLD: dict[str, Any] = {
    "class_name": "Functional", "config": {
        "name": "model", "layers": [
            {"class_name": "InputLayer", "name": "in", "inbound_nodes": [],
             "config": {"batch_input_shape": [None, 2], "dtype": "float32", "name": "in"}},
            {"class_name": "Dense", "name": "d", "inbound_nodes": [[["in", 0, 0, {}]]],
             "config": {"name": "d", "dtype": "float32", "units": 2, "activation": "linear", "use_bias": False,
                        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}}},
            {"class_name": "Concatenate", "name": "c", "inbound_nodes": [[["d", 0, 0, {}], ["in", 0, 0, {}]]],
             "config": {"name": "c", "axis": -1}},
        ], "input_layers": [["in", 0, 0]], "output_layers": [["c", 0, 0]]},
}  # fmt: skip


def test_the_configuration_of_keras_2_is_read(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(OLD), "2.11.0"
        group = file.create_group("model_weights/d")
        group.attrs["weight_names"] = [b"d/kernel:0"]
        group["d/kernel:0"] = np.array([[1.0, 2.0], [3.0, 4.0]], dtype="float32")
    found = open_network(tmp_path / "old.h5").module(torch.tensor([[1.0, 10.0]]))
    assert found.tolist() == [[31.0, 42.0, 1.0, 10.0]]
