"""Tables that each lane has of its own, looked up by an index that varies: in the C loop as in torch."""

from __future__ import annotations

import pytest
import torch

from simdl import Block, Diagram, Output, Param, State, simulate, tick
from simdl.errors import LoweringError
from tests.computer_loop import Lag

STEPS = 7919  # through the table, modulo its length


def looking(length: int) -> Diagram:
    """A plant driven by entries of a table of its lane."""

    class Look(Block):
        table: Param = Param(torch.zeros(()).expand(length), shape=(length,))
        y, k = Output(), State(0, dtype="int64")

        @tick
        def step(self, table, k):
            return dict(y=table.gather(1, k.unsqueeze(1)).squeeze(1) ** 2, k=(k + STEPS) % length)

    class Loop(Diagram):
        y = Output()

        def __init__(self) -> None:
            self.look, self.plant = Look(period="10 ms"), Lag()
            self.plant.u = self.look.y
            self.y = self.plant.y

    return Loop()


def tables(lanes: int, length: int) -> torch.Tensor:
    return torch.rand(lanes, length, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("lanes", [1, 11])  # one, and more than a vector
def test_a_long_table_is_looked_up_as_in_torch(lanes: int) -> None:
    model, given = looking(50_000), {"look.table": tables(lanes, 50_000)}
    runs = [
        simulate(model, until=0.5, set=given, record=["look.y", "y"], engine=engine) for engine in ("torch", "native")
    ]
    assert torch.equal(runs[0]["look.y"].values, runs[1]["look.y"].values)
    assert torch.allclose(runs[0]["y"].values, runs[1]["y"].values, rtol=0, atol=1e-12)
    places = torch.arange(51) * STEPS % 50_000
    assert torch.equal(runs[1]["look.y"].values, given["look.table"][:, places] ** 2)


def test_gradients_reach_the_entries_that_were_looked_up() -> None:
    found = []
    for engine in ("torch", "native"):
        table = tables(3, 100).requires_grad_()
        run = simulate(looking(100), until=0.2, set={"look.table": table}, grad=True, engine=engine)
        run["y"].values[:, -1].sum().backward()
        found.append(table.grad)
    assert torch.allclose(*found, rtol=1e-12, atol=0)
    assert sorted(found[0][0].nonzero()[:, 0].tolist()) == sorted((torch.arange(20) * STEPS % 100).tolist())


def test_gradients_of_a_long_table_are_for_torch() -> None:
    table = tables(2, 5000).requires_grad_()
    options = dict(until=0.1, set={"look.table": table}, grad=True)
    with pytest.raises(LoweringError, match="5000 elements to add to"):
        simulate(looking(5000), engine="native", **options)
    run = simulate(looking(5000), **options)
    run["y"].values[:, -1].sum().backward()
    assert run.engine == "torch" and int((table.grad != 0).sum()) == 2 * 10
