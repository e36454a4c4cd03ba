"""What all scorers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from simdl.clock import Duration
from simdl.errors import NetworkError
from simdl.networks.ood.threshold import Calibration, per_hour as by_hour, per_sample as by_sample

ROWS = 4096  # scored at once outside a loop, so that memory stays bounded


class Scorer(nn.Module):
    """A number for each row of features, larger for stranger rows, and the threshold above which a row is an alarm.

    `fit` learns from rows (samples, features) of training data; `score` gives (lanes,) for (lanes, features);
    `calibrate` sets `threshold` from a wanted rate of false alarms, on rows that it was not fitted on. All that is
    learnt is buffers in float64. `score` is plain torch without matrix products: a lane alone has the bits of the lane
    in any batch, and it lowers to C.
    """

    kind: ClassVar[str]
    learnt: ClassVar[tuple[str, ...]]  # names of the buffers that `fit` fills
    threshold: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options  # what makes the same scorer again, before `fit`
        self.calibration: Calibration | None = None
        for name in self.learnt:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))
        self.register_buffer("threshold", torch.tensor(torch.inf, dtype=torch.float64))

    @property
    def features(self) -> int:
        """How many features a row has; 0 before `fit`."""
        return int(getattr(self, self.learnt[0]).shape[-1])

    def score(self, x: Tensor) -> Tensor:
        """(lanes, features) -> (lanes,), in the type of x."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The score. Raises NetworkError for rows of another width, which would broadcast."""
        if x.ndim != 2 or x.shape[1] != self.features:
            raise NetworkError(f"{self}", f"rows of shape {tuple(x.shape)}", f"(lanes, {self.features}), as it was "
                               "fitted on", "the columns of the rows given to fit, in their order")  # fmt: skip
        where = next(self.buffers()).device  # a monitor is probed on the CPU wherever its scorer is
        return self.score(x) if where == x.device else self.score(x.to(where)).to(x.device)

    def scores(self, x: Tensor) -> Tensor:
        """The scores of rows with any number of axes before the features, a few thousand rows at a time."""
        rows = self._rows(x)
        with torch.no_grad():
            found = torch.cat([self.score(part) for part in torch.split(rows, ROWS)])
        return found.reshape(x.shape[:-1])

    def calibrate(
        self, x: Tensor, *, per_sample: float | None = None, per_hour: float | None = None,
        period: Duration | None = None, autocorrelation: float | None = None, trip: int = 1,
    ) -> Self:  # fmt: skip
        """Set the threshold from a rate of false alarms on rows x without faults that `fit` has not seen.

        per_sample: the chance that a row is above the threshold. per_hour: the number of times an hour that the score
        rises above it for `trip` samples in a row, one sample every `period`: counted, when x is (sequences, time,
        features); for single rows (samples, features) computed from the `autocorrelation` of neighbouring scores.
        Raises NetworkError where the rows are too few for the rate.
        """
        if (per_sample is None) == (per_hour is None):
            raise NetworkError(f"{self}", "both rates, or none", "per_sample= or per_hour=")
        scores = self.scores(x)
        if per_sample is not None:
            self.calibration = by_sample(scores, per_sample)
        else:
            assert per_hour is not None
            if period is None:
                raise NetworkError(f"{self}", "per_hour= without a period", 'period="10 s", the time between samples')
            self.calibration = by_hour(scores, per_hour, period, autocorrelation=autocorrelation, trip=trip)
        self.threshold = self.threshold.new_tensor(self.calibration.threshold)
        return self

    def _rows(self, x: Tensor) -> Tensor:
        """x as rows in float64. Raises NetworkError for what no row can be, and before `fit`."""
        where = f"{self}"
        if not self.features:
            raise NetworkError(where, "not fitted", "scorer.fit(rows) before its scores are asked for")
        if x.ndim < 2 or x.shape[-1] != self.features:
            raise NetworkError(where, f"rows of shape {tuple(x.shape)}", f"(..., {self.features}), as it was fitted on")
        return _finite(x, where)

    def _fitting(self, x: Tensor) -> Tensor:
        """x as rows to learn from."""
        if x.ndim < 2 or x.shape[-1] < 1 or x[..., 0].numel() < 2:
            raise NetworkError(f"{self}", f"rows of shape {tuple(x.shape)}", "at least two rows (samples, features)")
        return _finite(x, f"{self}")

    def _learn(self, **values: Tensor) -> Self:
        for name, value in values.items():
            setattr(self, name, value.detach().to(torch.float64).contiguous())
        self.calibration = None
        self.threshold = torch.full_like(self.threshold, torch.inf)
        return self

    def take(self, tensors: Mapping[str, Tensor], where: str) -> Self:
        """Fill the buffers from a file. Raises NetworkError unless names, types and shapes are those of this scorer."""
        names = {*self.learnt, "threshold"}
        if set(tensors) != names:
            raise NetworkError(where, f"the tensors {', '.join(sorted(tensors))}", ", ".join(sorted(names)))
        for name, value in tensors.items():
            if value.dtype != torch.float64 or bool(value.isnan().any()):
                raise NetworkError(f"{where}: {name}", f"{value.dtype} with NaN or of another type", "float64 numbers")
        if tensors["threshold"].ndim:
            raise NetworkError(f"{where}: threshold", f"the shape {tuple(tensors['threshold'].shape)}", "a number")
        for name, value in tensors.items():
            setattr(self, name, value.clone())
        try:
            shape = tuple(self.score(torch.zeros(2, self.features, dtype=torch.float64)).shape)
        except (RuntimeError, IndexError) as error:
            raise NetworkError(where, f"tensors whose shapes do not fit: {error}", f"those of {self.kind}") from None
        if not self.features or shape != (2,):
            raise NetworkError(where, f"tensors that give scores of shape {shape}", f"those of {self.kind}")
        return self

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"

    def extra_repr(self) -> str:
        about = self.calibration or "no threshold"
        return f"{self.features} features, {about}"


def spread_of(rows: Tensor) -> Tensor:
    """The standard deviation of each feature, 1 for a feature that never changes."""
    deviation = rows.std(0, correction=0)
    floor = 1e-12 * (1.0 + rows.abs().amax(0))
    return torch.where(deviation > floor, deviation, torch.ones_like(deviation))


def _finite(x: Tensor, where: str) -> Tensor:
    rows = x.detach().to(torch.float64).reshape(-1, x.shape[-1])
    wrong = int((~rows.isfinite()).any(-1).sum())
    if wrong:
        raise NetworkError(where, f"{wrong} of {len(rows)} rows are not finite", "numbers", "leave those rows out")
    return rows
