"""All estimators of a co-design in one table, over samples instead of lanes:
`python -m simdl.scenarios.battery_soc.table FOLDER`."""

import sys
from pathlib import Path

import torch

from simdl.data import Shards
from simdl.scenarios.battery_soc.scenario import WARMUP

COLUMNS = ("RMSE", "below 0 degC", "0 to 15", "15 to 30", "above 30", "p99", "worst", "lanes within 5 %")


def row(shards):
    """RMSE over all samples after the warm-up, by temperature, 99th percentile, worst error (per cent), and the part of
    lanes that never leave 5 %; lanes with a sensor fault left out."""
    sound = shards.param("faulty") < 0.5
    every = shards.schema.signal("error").every_ns / 1e9
    error = 100.0 * shards.signal("error")[sound][:, round(WARMUP / every) :].double()
    ambient = shards.param("ambient")[sound]
    parts = [ambient < 0, (ambient >= 0) & (ambient < 15), (ambient >= 15) & (ambient < 30), ambient >= 30]
    size = error.abs()
    return (
        error.square().mean().sqrt(),
        *(error[part].square().mean().sqrt() for part in parts),
        size.flatten().kthvalue(int(0.99 * size.numel())).values,
        size.max(),
        100.0 * (size.amax(1) < 5.0).double().mean(),
    )


def main(folder: Path) -> None:
    print(f"| estimator | lanes | {' | '.join(COLUMNS)} |")
    print("| --- |" + " ---: |" * (len(COLUMNS) + 1))
    for part in sorted((folder / "check").iterdir()):
        shards = Shards(part)
        sound = int((shards.param("faulty") < 0.5).sum())
        values = " | ".join(f"{float(torch.as_tensor(value)):.2f}" for value in row(shards))
        print(f"| {part.name.replace('-', ' ')} | {sound} | {values} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
