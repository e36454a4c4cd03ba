"""Calling a torch module over lanes: in its own type, on its own device, in evaluation mode, in calls of a fixed size.

A matrix product gives a row other last bits when the number of rows changes, and also when the row starts at another
alignment in memory. So in `exact` mode calls have 32 rows, padded, rows start at 64-byte boundaries, and which rows may
hold lanes is measured once: the module is given 32 equal rows, and lanes are put only into rows whose results are equal
bit for bit. Larger calls are used for many lanes where they are measured to give the same bits as 32 rows. A lane alone
is then equal to the lane in any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from simdl.errors import NetworkError
from simdl.tracing import tracer

Body = Callable[..., tuple[Tensor, ...]]
Mode = Literal["exact", "fast"]
LANES = 32
LARGER = (1024, 256, 128)
_LARGEST_ARGUMENT = 2**24  # numbers in a larger call
_ALIGNMENT = 64  # bytes: the widest vector register
_DRAWS = 8


class Call:
    """A function of tensors (lanes, *shape) that uses a module, evaluated over any number of lanes.

    body: takes and returns tensors with lanes first; module: what it uses. mode: "exact" (see above) or "fast" (all
    lanes at once). chunk: the most lanes of a call. only: the number of lanes that every call must have.
    train: whether the module is in training mode while it is called; it is put back afterwards.
    """

    def __init__(
        self, body: Body, module: nn.Module, mode: Mode = "exact", chunk: int | None = None, train: bool = False,
        where: str = "Network", only: int | None = None,
    ) -> None:  # fmt: skip
        if mode not in ("exact", "fast"):
            raise NetworkError(where, f"mode={mode!r}", "one of", names=("exact", "fast"), wrong=str(mode))
        if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
            raise NetworkError(where, f"chunk={chunk!r}", "a number of lanes, at least 1")
        self.body, self.module, self.mode, self.chunk, self.train, self.where = body, module, mode, chunk, train, where
        self.only = only
        self.size = only or min(LANES, chunk or LANES)
        self.larger = () if only else tuple(size for size in LARGER if size <= (chunk or size))
        self._measured: dict[Any, int] = {}

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """The body's results for all lanes, in the module's type."""
        dtype, device = kind_of(self.module)
        args = [_cast(value, dtype, device) for value in values]
        with training(self.module, self.train):
            if is_traced(args[0]):
                return self.body(*args)
            if self.mode == "exact" or self.only:
                return self._exact(args)
            return self._fast(args)

    def _fast(self, args: list[Tensor]) -> tuple[Tensor, ...]:
        lanes = args[0].shape[0]
        if self.chunk is None or lanes <= self.chunk:
            return self.body(*args)
        return _join([self.body(*(a[i : i + self.chunk] for a in args)) for i in range(0, lanes, self.chunk)])

    def _exact(self, args: list[Tensor]) -> tuple[Tensor, ...]:
        spacing, lanes, first = self.spacing(args), args[0].shape[0], 0
        parts: list[tuple[Tensor, ...]] = []
        while first < lanes:
            rows = self._rows_of_call(args, lanes - first, spacing)
            block = [arg[first : first + -(-rows // spacing)] for arg in args]
            found = block[0].shape[0]
            results = self.body(*(_rows(arg, rows, spacing) for arg in block))
            parts.append(tuple(result[::spacing][:found] for result in results))
            first += found
        return parts[0] if len(parts) == 1 else _join(parts)

    def _rows_of_call(self, args: list[Tensor], lanes: int, spacing: int) -> int:
        """1 when no two rows agree; more than usual when they would be at least half full and give the same bits."""
        if spacing >= self.size and not self.only:
            return 1
        fitting = [size for size in self.larger if lanes * spacing > size // 2]
        return next((size for size in fitting if self._agrees(args, size, spacing)), self.size)

    def _key(self, args: list[Tensor], size: int) -> Any:
        return (size, torch.get_num_threads(), *((a.dtype, a.device, a.shape[1:]) for a in args))

    def spacing(self, args: list[Tensor]) -> int:
        """Every how many rows of a call a lane may stand so that its place does not matter (measured once).

        The size of a call when no two rows agree.
        """
        key, size = self._key(args, 0), self.size
        if key not in self._measured:
            equal = torch.ones(size, dtype=torch.bool, device="cpu")
            for draw in range(_DRAWS):
                for value in self._drawn(args, size, draw):
                    equal &= _same(value, value[:1])
            candidates = [2**i for i in range(size.bit_length()) if 2**i < size]
            self._measured[key] = next((s for s in candidates if bool(equal[::s].all())), size)
        return self._measured[key]

    def _agrees(self, args: list[Tensor], size: int, spacing: int) -> bool:
        """Whether a larger call gives the same bits as one of the usual size (measured once)."""
        key = self._key(args, size)
        if key not in self._measured:
            agrees = all(size * arg[:1].numel() <= _LARGEST_ARGUMENT for arg in args)
            for draw in range(_DRAWS // 2 if agrees else 0):
                usual, large = self._drawn(args, self.size, draw), self._drawn(args, size, draw)
                agrees &= len(usual) == len(large)
                agrees &= all(bool(_same(b, a[:1])[::spacing].all()) for a, b in zip(usual, large))
            self._measured[key] = agrees
        return bool(self._measured[key])

    def _drawn(self, args: list[Tensor], size: int, draw: int) -> list[Tensor]:
        """Results of the body and of the module's layers for `size` equal rows."""
        generator = torch.Generator(device="cpu").manual_seed(draw)
        rows = [_rows(_random(arg, generator), size, 1) for arg in args]
        with torch.no_grad(), _leaf_results(self.module) as seen:
            found = [*self.body(*rows), *seen]
        return [value for value in found if isinstance(value, Tensor) and value.ndim and value.shape[0] == size]


def kind_of(module: nn.Module) -> tuple[torch.dtype | None, torch.device | None]:
    """The floating type and the device of a module's weights; (None, None) for one without any."""
    first: torch.device | None = None
    for tensor in chain(module.parameters(), module.buffers()):
        first = first or tensor.device
        if tensor.is_floating_point():
            return tensor.dtype, tensor.device
    return None, first


@contextmanager
def training(module: nn.Module, train: bool) -> Iterator[None]:
    """Put a module and its parts into training or evaluation mode, and back afterwards."""
    # Flags are set one by one: exported programs refuse .eval(), and only what differs must be put back. They are plain
    # attributes; nn.Module.__setattr__ would look for parameters first, which costs as much as a small layer.
    changed = [part for part in module.modules() if part.training is not train]
    for part in changed:
        vars(part)["training"] = train
    try:
        yield
    finally:
        for part in changed:
            vars(part)["training"] = not train


def is_traced(value: Tensor) -> bool:
    """Whether a graph is being recorded, so that nothing may depend on the number of lanes."""
    return (
        type(value) not in (Tensor, nn.Parameter)
        or isinstance(value.shape[0], torch.SymInt)
        or torch.compiler.is_compiling()
        or get_proxy_mode() is not None
        or tracer() is not None
    )


def _cast(value: Tensor, dtype: torch.dtype | None, device: torch.device | None) -> Tensor:
    # Integers other than images are indices, as an embedding takes them.
    if dtype is None or value.dtype in (torch.int64, torch.int32):
        return value.to(device) if device is not None else value
    return value.to(device=device, dtype=dtype)


def _rows(value: Tensor, rows: int, spacing: int) -> Tensor:
    """`rows` rows: each lane `spacing` times, the last one repeated to the end, rows starting at aligned addresses."""
    if rows == 1:
        return _aligned(value)
    if spacing > 1:
        value = value.repeat_interleave(spacing, 0)[:rows]
    missing = rows - value.shape[0]
    if missing:
        # Repeating a lane and not zeros: a zero may be outside of what the module can take, and spoil gradients.
        value = torch.cat((value, value[-1:].expand(missing, *value.shape[1:])))
    return _aligned(value)


def _aligned(value: Tensor) -> Tensor:
    """The same values with rows (the last axis) that start at multiples of 64 bytes."""
    if value.ndim not in (2, 3):
        return value.contiguous()
    width = max(1, _ALIGNMENT // value.element_size())
    spare = -value.shape[-1] % width
    if spare:
        return nn.functional.pad(value, (0, spare))[..., : value.shape[-1]]
    value = value.contiguous()
    return value if value.data_ptr() % _ALIGNMENT == 0 else value.clone()


def _same(value: Tensor, row: Tensor) -> Tensor:
    """Which rows equal this one bit for bit."""
    equal: Tensor = (value == row) | (value.isnan() & row.isnan())
    return equal.reshape(value.shape[0], -1).all(1).cpu()


def _random(like: Tensor, generator: torch.Generator) -> Tensor:
    """One lane of values of the same kind."""
    shape = (1, *like.shape[1:])
    if like.is_floating_point():
        return torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu").to(like)
    return torch.zeros(shape, dtype=like.dtype, device=like.device)


@contextmanager
def _leaf_results(module: nn.Module) -> Iterator[list[Any]]:
    """What the innermost parts of a module return: a saturated output layer must not hide a difference."""
    seen: list[Any] = []
    leaves = [part for part in module.modules() if part is not module and not any(True for _ in part.children())]
    handles = [part.register_forward_hook(lambda part, args, result: seen.append(result)) for part in leaves]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _join(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(column) for column in zip(*parts))
