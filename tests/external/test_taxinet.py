"""TinyTaxiNet in the image loop of VerifyGAN: a generator draws what the camera sees, a network reads it, a law steers.

The networks lie in `taxinet/` of the folder SIMDL_CASES (default ../shared/cases). The published use of the generator
is not what its header says: latents undivided, images (g + 1) / 2.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from simdl import Block, Diagram, Euler, Input, State, derivative, simulate
from simdl.networks import Imported, open_network

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("SIMDL_CASES", ROOT.parent / "shared" / "cases"))
if not CASES.is_absolute():
    CASES = ROOT / CASES
NETS = CASES / "taxinet"

pytestmark = pytest.mark.skipif(not NETS.is_dir(), reason=f"no external cases: {NETS} is absent (set SIMDL_CASES)")

DEGREE = torch.pi / 180
PUBLISHED = {"low": None, "high": None, "mean": 0.0, "range": [1.0, 1.0, 6.366468343804353, 17.248858791583547],
             "output_mean": 0.5, "output_range": 0.5}  # fmt: skip


class Taxi(Block):
    """p' = 5 sin theta, theta' = tan phi: a plane of 5 m wheelbase at 5 m/s, p in m, theta and phi in degrees."""

    phi = Input(unit="deg")
    p, theta = State(0.0, unit="m"), State(0.0, unit="deg")

    @derivative(p, theta)
    def roll(self, theta, phi):  # type: ignore[no-untyped-def]
        return 5.0 * torch.sin(theta * DEGREE), torch.tan(phi * DEGREE) / DEGREE


def generator() -> Imported:
    return open_network(NETS / "supervised_mlp.nnet", normalisation=PUBLISHED)


class Loop(Diagram):
    """Position and heading to an image, to both as the network reads them, to the wheel, once a second."""

    def __init__(self) -> None:
        self.taxi = Taxi()
        self.camera = generator().block(period="1 s", inputs=("z1", "z2", "p", "theta"))
        self.camera.z1, self.camera.z2 = 0.0, 0.0
        self.camera.p, self.camera.theta = self.taxi.p, self.taxi.theta
        self.net = open_network(NETS / "TinyTaxiNet.nnet").block(period="1 s", outputs=("p", "theta"))
        self.net.x = self.camera.y
        self.taxi.phi = -0.74 * self.net.p - 0.44 * self.net.theta


def test_the_header_of_the_generator_is_shown_and_where_it_is_not_used() -> None:
    notes = generator().notes
    assert "range (2, 2, 6.36647, 17.2489), output_mean 0.5, output_range 1" in notes[0]
    assert [note.split(": ")[1].split()[0] for note in notes[1:]] == ["low", "high", "range", "output_range"]
    assert all("MISMATCH with the header" in note for note in notes[1:])
    as_written = open_network(NETS / "supervised_mlp.nnet")
    x = torch.tensor([[0.5, -0.5, 3.0, 4.0]], dtype=torch.float64)
    assert not torch.allclose(as_written.module(x), generator().module(x), atol=0.01)


def test_the_first_image_is_read_as_published() -> None:
    image = generator().module(torch.tensor([[0.0, 0.0, 8.0, 0.0]], dtype=torch.float64))
    p, theta = open_network(NETS / "TinyTaxiNet.nnet").module(image)[0].tolist()
    assert (p, theta) == pytest.approx((7.11817984, 1.76528422), abs=1e-4)
    assert -0.74 * p - 0.44 * theta == pytest.approx(-6.04417814, abs=1e-4)


@pytest.mark.filterwarnings("ignore:.*half the step")
@pytest.mark.parametrize("engine", ["torch", "native"])
def test_the_plane_ends_where_the_reference_does(engine: Any) -> None:
    """Six starts, each a lane; unsafe is |p| > 10."""
    starts = [(8, 0), (-8, 0), (5, 10), (-9, -5), (9, 5), (0, 0)]
    ends = [(-0.765918, -0.0286627), (-0.780580, 0.0307641), (-0.76630233, -0.02710492), (-0.78298905, 0.04052912),
            (-0.75995383, -0.05283643), (-0.77289184, -0.00039656)]  # fmt: skip
    most = [8.0, 8.0, 5.504276519, 9.074311766, 9.151212801, 0.772891837]
    p, theta = (torch.tensor(column, dtype=torch.float64) for column in zip(*starts))
    found = simulate(Loop(), 30, set={"taxi.p": p, "taxi.theta": theta}, record=["taxi.p", "taxi.theta", "taxi.phi"],
                     every=0.05, solver=Euler(max_step=0.05), engine=engine)  # fmt: skip
    last = [(float(a), float(b)) for a, b in zip(found["taxi.p"].at(30.0), found["taxi.theta"].at(30.0))]
    for reached, wanted in zip(last, ends):
        assert reached == pytest.approx(wanted, abs=1e-4)
    # the reference looked at whole seconds
    assert found["taxi.p"].values[:, ::20].abs().amax(1).tolist() == pytest.approx(most, abs=1e-4)
    assert found.engine == engine
