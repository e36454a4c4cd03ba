"""Images and other arrays: scaling, resizing, normalisation and layout, against torch's own functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simdl import Input, ModelCard, Network
from simdl.errors import NetworkError
from simdl.networks import Classifier, Layout
from tests.network_player import ENGINES, alone, play

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def camera(lanes: int = 2, times: int = 3, shape: tuple[int, ...] = (9, 12, 3), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (lanes, times, *shape), generator=generator, dtype=torch.uint8)


def conv(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).to(dtype)  # fmt: skip


def prepared(x: Tensor, size: tuple[int, int], mode: str, antialias: bool) -> Tensor:
    """By hand: to (lanes, c, h, w), from 0 to 1, resized, normalised."""
    x = x.movedim(-1, 1).double() / 255
    options: dict[str, Any] = {} if mode == "nearest" else {"align_corners": False, "antialias": antialias}
    x = nn.functional.interpolate(x, size=size, mode=mode, **options)
    mean, std = (torch.tensor(numbers, dtype=torch.float64)[:, None, None] for numbers in (MEAN, STD))
    return (x - mean) / std


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [(6, 7), (12, 20)])
@pytest.mark.parametrize(("mode", "antialias"), [("bilinear", True), ("bilinear", False), ("nearest", False)])
def test_an_image_is_made_ready_as_by_hand(size: tuple[int, int], mode: Any, antialias: bool, engine: str) -> None:
    module, x = conv(), camera()
    layout = Layout("hwc", "chw", size=size, resize=mode, antialias=antialias, mean=MEAN, std=STD)
    net = Network(module, inputs={"x": Input(shape=(9, 12, 3), dtype="uint8")}, outputs=("a", "b", "c"), layout=layout,
                  period="1 s")  # fmt: skip
    run = play(net, x, engine, ("a", "b", "c"))
    assert run.engine == engine
    found = torch.stack([run[f"net.{name}"].values for name in "abc"], -1)
    wanted = module(prepared(x.flatten(0, 1), size, mode, antialias)).detach().reshape(2, 3, 3)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lane_alone_is_the_lane_in_the_batch(engine: str) -> None:
    def net() -> Network:
        return Classifier(conv(torch.float32), labels=("a", "b", "c"), period="1 s",
                          inputs={"x": Input(shape=(9, 12, 3), dtype="uint8")},
                          layout=Layout("hwc", "chw", size=(6, 6), mean=MEAN, std=STD))  # fmt: skip

    x, ports = camera(5), ("scores", "confidence")
    assert alone(play(net(), x, engine, ports), play(net(), x, engine, ports, lanes=[4]), 4)


def test_what_a_filter_without_lowering_costs_is_said() -> None:
    net = Classifier(conv(), labels=("a", "b", "c"), period="1 s",
                     inputs={"x": Input(shape=(9, 12, 3), dtype="uint8")},
                     layout=Layout("hwc", "chw", size=(6, 6)))  # fmt: skip
    run = play(net, camera(), "native", ("scores",))
    assert "_upsample_bilinear2d_aa" in run.why
    assert "x: hwc -> chw, resized to 6 x 6 (bilinear, antialias)" in run.model.describe()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("axes", "takes"), [("tc", "ct"), ("ct", "tc"), ("tc", "tc")])
def test_sequences_are_turned(axes: str, takes: str, engine: str) -> None:
    class Weighted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.arange(1.0, x.shape[-1] + 1, dtype=x.dtype)

    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = Network(Weighted(), inputs={"x": Input(shape=(4, 6))}, layout=Layout(axes, takes, scale=0.5), period="1 s")
    turned = 0.5 * (x if axes == takes else x.mT)
    wanted = turned @ torch.arange(1.0, turned.shape[-1] + 1, dtype=torch.float64)
    torch.testing.assert_close(play(net, x, engine, ("y",))["net.y"].values, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["chw", "cwh", "hwc", "hcw", "wch", "whc"])
def test_every_order_of_axes_gives_the_same_image(layout: str) -> None:
    x = camera(1, 1)[0].double()  # hwc
    port = x.permute(0, *(1 + "hwc".index(letter) for letter in layout))
    found = Layout(layout, "chw", size=(5, 4), mean=MEAN, std=STD, scale=1 / 255).prepared(port)
    torch.testing.assert_close(found, prepared(x, (5, 4), "bilinear", True), rtol=1e-12, atol=1e-12)


def test_integers_are_scaled_and_floats_are_not() -> None:
    x = camera(1, 1)[0]
    assert torch.equal(Layout("hwc").prepared(x.double()), x.double())
    assert torch.equal(Layout("hwc").prepared(x.double(), integer=True), x.double() * (1 / 255))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 3, 3), r'either order(.|\n)*Layout."hwc", "chw". if channels stand last, layout=Layout."chw". if they'),
        ((3, 8, 3), "may be either order"),
        ((8, 8, 3), "seems to be hwc"),
    ],
)  # fmt: skip
def test_a_layout_that_could_be_another_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network(conv(), inputs={"x": Input(shape=shape)}, outputs=("a", "b", "c"), period="1 s")
    for layout in (Layout("hwc", "chw"), Layout("chw")):
        if shape[0 if layout.axes == "chw" else -1] == 3:
            Network(conv(), inputs={"x": Input(shape=shape)}, outputs=("a", "b", "c"), period="1 s", layout=layout)


def test_sequences_for_a_convolution_are_refused_too() -> None:
    with pytest.raises(NetworkError, match='Layout."tc", "ct"'):
        Network(nn.Conv1d(2, 1, 2), inputs={"x": Input(shape=(5, 2))}, period="1 s")


def test_the_card_keeps_how_an_image_is_made_ready() -> None:
    layout = Layout("hwc", "chw", size=(6, 7), antialias=False, mean=MEAN, std=STD)
    net = Classifier(conv(), labels=("a", "b", "c"), inputs={"x": Input(shape=(9, 12, 3), dtype="uint8")},
                     layout=layout, period="1 s")  # fmt: skip
    card = ModelCard.from_json(ModelCard.of(net, "mynets:conv").to_json())
    again = Network(conv(), card=card, inputs={"x": Input(shape=(9, 12, 3), dtype="uint8")})
    x = camera()
    assert again._plan.layouts == {"x": layout}
    assert torch.equal(*(play(one, x, "torch", ("scores",))["net.scores"].values for one in (net, again)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layout("hwc", "chx"), "other axes"),
        (lambda: Layout("hhc"), "a letter for each axis"),
        (lambda: Layout("tc", size=(3, 3)), "without the axes h and w"),
        (lambda: Layout("hwc", size=(0, 3)), "rows and columns"),
        (lambda: Layout("hwc", resize="cubic"), "resize='cubic'"),  # type: ignore[arg-type]
        (lambda: Layout("hwc", std=(1.0, 0.0, 1.0)), "above zero"),
        (lambda: Layout("hw", mean=(0.0, 1.0)), "without the axis c"),
        (lambda: network(Layout("tc")), "an axis for each of 'tc'"),
        (lambda: network(Layout("hwc", "chw", mean=(0.1, 0.2))), "2 numbers in mean= for 3 channels"),
        (lambda: network({"y": Layout("hwc", "chw")}), "no input 'y'"),
        (lambda: Network(nn.Linear(2, 1), period="1 s", layout=Layout("hwc")), "inputs that are no arrays"),
    ],
)
def test_layouts_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        make()


def network(layout: Any) -> Network:
    return Network(conv(), inputs={"x": Input(shape=(9, 12, 3))}, outputs=("a", "b", "c"), period="1 s", layout=layout)
