"""Make the networks that ship with the scenario: `python -m simdl.scenarios.battery_soc --out cards --seconds 240`."""

from pathlib import Path

import click
import torch

from simdl.campaign.dataset import write_dataset
from simdl.codesign import Training
from simdl.data import split_by_lane
from simdl.scenarios.battery_soc import recipe
from simdl.scenarios.battery_soc.scenario import SCENARIO


@click.command()
@click.option("--out", type=Path, required=True, help="where the cards go")
@click.option("--data", type=Path, required=True, help="where the data set goes, or is")
@click.option("--lanes", default=2000)
@click.option("--seconds", default=240.0)
@click.option("--seed", default=0, help="of the data")
@click.option("--training-seed", default=0)
@click.option("--workers", default=2)
@click.option("--only", default="recurrent feedforward ridge")
def main(
    out: Path, data: Path, lanes: int, seconds: float, seed: int, training_seed: int, workers: int, only: str
) -> None:
    """Simulate the lanes to learn from, and train the three networks on them."""
    design = SCENARIO.design
    assert design is not None
    driver = SCENARIO.swap(sensor=design.baselines[design.driver]())
    job = driver._job(driver.build(), seed, None)
    shards = write_dataset(
        job,
        torch.arange(lanes),
        data,
        inputs=design.inputs,
        targets=design.targets,
        labels={},
        every=design.every,
        workers=workers,
    )
    learn, stop = split_by_lane(shards, (0.85, 0.15), seed=seed)
    makers = {"recurrent": recipe.train, "feedforward": recipe.train_window, "ridge": recipe.train_ridge}
    for name in only.split():
        limit = seconds if name == "recurrent" else seconds / 4
        makers[name]([learn], stop, out / name, Training(seconds=limit, seed=training_seed))
        print(f"{name}: {out / name}")


if __name__ == "__main__":
    main()
