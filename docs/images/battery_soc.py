"""Draw the README's picture from a co-design's folder: `python docs/images/battery_soc.py runs/FOLDER`."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from simdl.data import Shards
from simdl.plot import PALETTE

WARMUP, LIMIT = 300.0, 5.0  # s, %


def main(folder: Path) -> None:
    before, after = Shards(folder / "check" / "ekf--new-cell"), Shards(folder / "check" / "after")
    name = "margin:error below 5 % after warm-up"
    fails, holds = before.param(name), after.only(before.lanes).param(name)
    sound = before.param("faulty") < 0.5
    row = int(torch.where(sound & (holds > 0), fails, torch.inf).argmin())
    lane = before.lane(row)
    figure, axes = plt.subplots(2, 2, figsize=(9.0, 4.6), sharex=True, layout="constrained", width_ratios=(1.25, 1))
    for line, (title, shards) in enumerate((("Kalman filter", before), ("network", after))):
        one = shards.only([lane])
        soc, estimate, error = (100 * one.signal(p)[0] for p in ("soc", "estimate", "error"))
        t = torch.arange(len(soc)) * 10.0 / 60.0
        left, right = axes[line]
        left.plot(t, soc, color=PALETTE[6], label="true charge")
        left.plot(t, estimate, color=PALETTE[0], linestyle="--", label=f"estimate, {title}")
        left.set_ylabel("state of charge [%]")
        right.plot(t, error, color=PALETTE[1])
        right.axhspan(-LIMIT, LIMIT, color=PALETTE[2], alpha=0.15, linewidth=0)
        right.axvline(WARMUP / 60, color="0.5", linewidth=0.8, linestyle=":")
        late = error[int(WARMUP // 10):].abs().max()
        right.set_title(f"worst error {late:.1f} %: {'fails' if late > LIMIT else 'holds'}", fontsize="medium")
        right.set_ylabel("error [%]")
        left.legend(fontsize="small")
        for axis in (left, right):
            axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("time [min]")
    limits = [axis.get_ylim() for axis in axes[:, 1]]
    for axis in axes[:, 1]:
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)
    print(f"lane {lane}: margin {float(fails[row]):.4f} with the filter, {float(holds[row]):.4f} with the network; "
          f"{int((fails < 0)[sound].sum())} of {int(sound.sum())} sound lanes fail with the filter, "
          f"{int((holds < 0)[sound].sum())} with the network")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
