"""Networks that say how sure they are: ensembles, dropout at run time, quantiles, a variance of their own."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simdl.declarations import Noise
from simdl.errors import NetworkError
from simdl.networks.network import Network
from simdl.networks.plan import Plan
from simdl.networks.spread import Normal, Quantiles, Spread, checked_factor, shape_on


class _Head(Network):
    """A network with a result of its own; `factor` is taken off the arguments of Network."""

    if not TYPE_CHECKING:

        def __init__(self, module, *, factor=None, levels=(), gaussian=False, members=False, samples=16, **options):
            super().__init__(self._plan.wrapped, **options)


class Gaussian(_Head):
    """A network whose module says a mean and a log-variance, as the outputs `mean` and `std`.

    The module returns (lanes, 2 n), means first, or a pair. Train it with `simdl.networks.gaussian_nll`. factor:
    multiplies std, such as the one a `calibration` found; without it the metric "conformal" of the card. With a card,
    give the feature `std` the mean 0 and the deviation of `mean`. The other arguments are those of Network.

    >>> net = Gaussian(torch.nn.Linear(3, 2), inputs=("a", "b", "c"), period="1 s")
    >>> list(net.declared())
    ['a', 'b', 'c', 'mean', 'std']
    """

    @classmethod
    def _planned(cls, module: Any, *, factor: float | None = None, **options: Any) -> Plan:  # type: ignore[override]
        result: Any = Normal(checked_factor(factor, options.get("card"), cls.__name__), shape_on(options.get("card")))
        return _wrapping(super()._planned(module, result=result, **options), module)


class Quantile(_Head):
    """A network whose module says a value for each level: the outputs q05, q50, q95, sorted, so that they never cross.

    The module returns (lanes, levels), or (lanes, n, levels). Train it with `simdl.networks.Pinball(levels)`. factor:
    multiplies the distances from the middle level. The other arguments are those of Network.

    >>> net = Quantile(torch.nn.Linear(2, 3), inputs=("a", "b"), period="1 s")
    >>> out = net.step(torch.randn(50), torch.randn(50))
    >>> bool((out["q05"] <= out["q50"]).all() and (out["q50"] <= out["q95"]).all())
    True
    """

    @classmethod
    def _planned(  # type: ignore[override]
        cls, module: Any, *, levels: Sequence[float] = (0.05, 0.5, 0.95), factor: float | None = None, **options: Any
    ) -> Plan:  # fmt: skip
        result: Any = Quantiles(
            tuple(levels), checked_factor(factor, options.get("card"), cls.__name__), shape_on(options.get("card"))
        )
        return _wrapping(super()._planned(module, result=result, **options), module)


class Ensemble(_Head):
    """Several networks trained apart, as the outputs `mean` and `std`; with members=True each one as `members`.

    members: lists of modules of equal ports, at least two. gaussian: each says a mean and a log-variance, and std is
    that of their mixture. factor: multiplies std. The other arguments are those of Network.

    >>> nets = [torch.nn.Linear(2, 1) for _ in range(5)]
    >>> net = Ensemble(nets, inputs=("a", "b"), period="1 s", members=True)
    >>> net.step(torch.zeros(3), torch.zeros(3))["members"].shape
    torch.Size([3, 5])
    """

    @classmethod
    def _planned(  # type: ignore[override]
        cls, module: Any, *, gaussian: bool = False, members: bool = False, factor: float | None = None, **options: Any
    ) -> Plan:  # fmt: skip
        where = cls.__name__
        modules = list(module) if isinstance(module, Sequence | nn.ModuleList) else []
        if len(modules) < 2 or not all(isinstance(one, nn.Module) for one in modules):
            raise NetworkError(where, f"{module!r:.60}", "two or more modules", f"{where}([net_1, net_2], ...)")
        if any(isinstance(part, nn.RNNBase) for one in modules for part in one.modules()):
            raise NetworkError(where, "a recurrent member", "members without memory",
                               "Recurrent blocks side by side, and a block that takes their mean")  # fmt: skip
        whole = _Members(modules)
        result: Any = Spread(
            gaussian, members, checked_factor(factor, options.get("card"), where), shape_on(options.get("card"))
        )
        return _wrapping(super()._planned(whole, result=result, **options), whole)


class MCDropout(_Head):
    """A network evaluated `samples` times with its dropout on: the outputs `mean` and `std`.

    Gal & Ghahramani, Dropout as a Bayesian approximation, ICML 2016. The masks are drawn from the run's seed by lane
    and tick, so that a lane alone equals the lane in any batch, and a run replays. Weights are shared with `module`,
    whose nn.Dropout layers are evaluated as products with masks. members: show each sample. factor: multiplies std.
    The other arguments are those of Network, without window=, layout= and activations=.

    Raises NetworkError for a module without nn.Dropout, or with one that is used more than once in a pass.

    >>> layers = torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(32, 1)
    >>> net = MCDropout(torch.nn.Sequential(*layers), samples=8, inputs=("a", "b"), period="1 s")
    >>> list(net.declared())
    ['a', 'b', 'draws', 'mean', 'std']
    """

    @classmethod
    def _planned(  # type: ignore[override]
        cls, module: Any, *, samples: int = 16, members: bool = False, factor: float | None = None, **options: Any
    ) -> Plan:  # fmt: skip
        where = cls.__name__
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
            raise NetworkError(where, f"samples={samples!r}", "a whole number, at least 2")
        refused = [name for name in ("window", "layout", "activations", "reset") if options.get(name)]
        if refused or options.get("nan", "propagate") == "hold":
            raise NetworkError(where, f"{refused[0] if refused else 'nan'}=", "a network without memory",
                               "dropout inside a window is not offered")  # fmt: skip
        if not isinstance(module, nn.Module):
            raise NetworkError(where, f"{module!r:.60}", "an nn.Module")
        masked = _Masked(module, samples, where)
        result: Any = Spread(
            False, members, checked_factor(factor, options.get("card"), where), shape_on(options.get("card"))
        )
        plan = super()._planned(masked, result=result, **options)
        units = masked.units()
        ports: Any = plan.extra_inputs
        ports["draws"] = Noise((samples, units), distribution="uniform", doc="of the dropout masks")
        return _wrapping(plan, masked)

    def _step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        plan = self._plan
        inputs = [values[name] for name in plan.inputs]
        found = self._named(self._call(*self._arguments(inputs), values["draws"]), inputs)
        return found if plan.nan == "propagate" else self._guarded(inputs, {}, found)

    def _body(self, *args: Tensor) -> tuple[Tensor, ...]:
        module: Any = self.module
        return self._plan.returned(module(*args[:-1], draws=args[-1]), args[0].shape[0])


class Pinball(nn.Module):
    """The loss whose minimum is the quantiles: mean of max(level e, (level - 1) e), e = target - prediction.

    predicted: (..., levels); target: (..., 1), or (..., levels) with equal columns, as `fit` wants equal shapes.
    Koenker & Bassett, Regression quantiles, Econometrica 46 (1978) 33.

    >>> float(Pinball((0.1, 0.9))(torch.zeros(1, 2), torch.ones(1, 2)))
    0.5
    """

    def __init__(self, levels: Sequence[float] = (0.05, 0.5, 0.95)) -> None:
        super().__init__()
        self.levels = Quantiles(tuple(levels)).levels

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        level = torch.tensor(self.levels, dtype=predicted.dtype, device=predicted.device)
        error = target - predicted
        return torch.maximum(level * error, (level - 1) * error).mean()


def gaussian_nll(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean negative log-likelihood of Gaussians, with its constant; predicted (..., 2 n): means, then log-variances.

    target: (..., n), or (..., 2 n) whose second half is ignored, as `fit` wants equal shapes.

    >>> round(float(gaussian_nll(torch.zeros(1, 2), torch.zeros(1, 1))), 6) == round(0.5 * math.log(2 * math.pi), 6)
    True
    """
    n = predicted.shape[-1] // 2
    mean, logarithm, target = predicted[..., :n], predicted[..., n:], target[..., :n]
    return 0.5 * (logarithm + (target - mean) ** 2 * torch.exp(-logarithm) + math.log(2 * math.pi)).mean()


class _Members(nn.Module):
    """Results of several modules, (lanes, members, outputs)."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.stack([member(*inputs) for member in self.members], 1)


class _Masked(nn.Module):
    """A module with dropout, `samples` times: (lanes, samples, outputs); without draws once, without dropout."""

    def __init__(self, module: nn.Module, samples: int, where: str) -> None:
        super().__init__()
        self.samples, self.where = samples, where
        weights = {id(one): one for one in (*module.parameters(), *module.buffers())}
        self.inner = copy.deepcopy(module, dict(weights))
        self.drops: list[_Mask] = []
        found = list(self.inner.named_modules(remove_duplicate=False))
        for name, part in found:
            if isinstance(part, nn.modules.dropout._DropoutNd):
                if sum(other is part for _, other in found) > 1:
                    raise NetworkError(where, f"the dropout layer {name} in two places", "a layer for each place")
                if type(part) is not nn.Dropout:
                    raise NetworkError(where, f"{type(part).__name__} at {name}", "nn.Dropout")
                self.drops.append(_Mask(part.p))
                if not name:
                    self.inner = self.drops[-1]
                    continue
                parent, _, last = name.rpartition(".")
                setattr(self.inner.get_submodule(parent), last, self.drops[-1])
        if not self.drops:
            raise NetworkError(where, f"a {type(module).__name__} without nn.Dropout", "a layer nn.Dropout",
                               "torch.nn.functional.dropout cannot be seen: use the layer")  # fmt: skip

    def units(self) -> int:
        """How many numbers are drawn a sample; known once the module was called."""
        for drop in self.drops:
            if drop.calls != 1:
                raise NetworkError(self.where, f"a dropout layer called {drop.calls} times in a pass", "once",
                                   "a layer for each place, and inputs whose shapes are known")  # fmt: skip
        return sum(drop.size for drop in self.drops)

    def forward(self, *inputs: Tensor, draws: Tensor | None = None) -> Tensor:
        if draws is None:
            for drop in self.drops:
                drop.calls, drop.mask = 0, None
            return torch.stack([self.inner(*inputs)] * self.samples, 1)
        found = []
        for sample in range(self.samples):
            first = 0
            for drop in self.drops:
                drop.mask = draws[:, sample, first : first + drop.size]
                first += drop.size
            found.append(self.inner(*inputs))
        for drop in self.drops:
            drop.mask = None
        return torch.stack(found, 1)


class _Mask(nn.Module):
    """Inverted dropout by given draws: x / (1 - p) where the draw is at least p, else 0."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.size, self.calls = p, 0, 0
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            self.calls, self.size = self.calls + 1, x[0].numel()
            return x
        kept = (self.mask >= self.p).to(x.dtype).reshape(x.shape)
        return x * kept * (1.0 / (1.0 - self.p) if self.p < 1 else 0.0)


def _wrapping(plan: Plan, module: nn.Module) -> Plan:
    """The plan, with the module that the block is to hold."""
    vars(plan)["wrapped"] = module
    return plan
