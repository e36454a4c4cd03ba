"""Counter-based random numbers: every draw is a function of (stream, lane, tick, index) and of nothing else.

Philox4x32-10 (Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC'11) turns a 128-bit counter
and a 64-bit key into four random words. The key is the stream (seed and block path), the counter is

    (tick mod 2**32, tick // 2**32, lane, index // 2)

and each counter gives two 64-bit draws. So lane 1853 alone draws what lane 1853 draws in a campaign, an added block
reshuffles nobody, and a run can be resumed at any tick. Words, integers and uniforms are exact in any implementation;
normals go through one float64 log, sqrt, cos and sin each, so two good maths libraries agree within 4 ulp.

Shapes: `lanes` is an int64 tensor (L,), `tick` a number or one counter for each lane (L,); draws are (L, count).
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from simdl.errors import RunError

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def stream_key(seed: int, path: str) -> int:
    """The 64-bit key of a stream: a hash of the run's seed and the block path (or the `stream=` name).

    >>> stream_key(7, "car.gyro") == stream_key(7, "car.gyro") != stream_key(8, "car.gyro")
    True
    """
    digest = hashlib.blake2b(f"{int(seed)}\0{path}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _schedule(key: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """For each round, the multipliers and the keys of the two rows of the state (see `_philox`)."""
    rounds = []
    for turn in range(_ROUNDS):
        low, high = ((key & _MASK) + turn * _WEYL[0]) & _MASK, ((key >> 32) + turn * _WEYL[1]) & _MASK
        rounds.append((_MULTIPLIERS, (high, low)) if turn % 2 == 0 else (_MULTIPLIERS[::-1], (low, high)))
    return rounds


def _philox(key: int, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
    """Philox4x32-10 of counters given as words (0, 2) in `even` and (1, 3) in `odd`, (2, ticks, L, blocks) each.

    Returns the four random words in the same order and shapes. A round sends either pair's product to the other
    pair's place; letting the rows of `even` change places instead leaves six operations a round. The product of two
    32-bit words wraps in int64 to the right 64 bits; the shift then fills with the sign, which the mask removes.
    """
    rounds = torch.tensor(_schedule(key), dtype=torch.int64, device=even.device).reshape(_ROUNDS, 2, 2, 1, 1, 1)
    for multipliers, keys in (turn.unbind(0) for turn in rounds.unbind(0)):
        product = even * multipliers
        even = (product >> 32).bitwise_xor_(odd.flip(0)).bitwise_xor_(keys).bitwise_and_(_MASK)
        odd = product
    return even, odd & _MASK


def _words(key: int, lanes: Tensor, tick: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """High and low words of `count` (rounded up to even) 64-bit draws, (ticks, L, count); tick is (ticks, L or 1)."""
    if not 0 <= key < 2**64:
        raise RunError("random", f"key {key}", "a 64-bit stream key", "make it with stream_key(seed, path)")
    blocks = (count + 1) // 2
    size = (tick.shape[0], lanes.shape[0], blocks)
    tick, lane = tick[..., None].expand(size), lanes[:, None].expand(size)
    block = torch.arange(blocks, device=lanes.device).expand(size)
    even = torch.stack((tick & _MASK, lane & _MASK))
    odd = torch.stack(((tick >> 32) & _MASK, block))
    high, low = _philox(key, even, odd)
    shape = (*size[:2], 2 * blocks)
    return high.permute(1, 2, 3, 0).reshape(shape), low.permute(1, 2, 3, 0).reshape(shape)


def _ticks(lanes: Tensor, first: int | Tensor, ticks: int | None) -> Tensor:
    """Tick counters (ticks, L or 1) from a common or a per-lane first tick."""
    start = torch.as_tensor(first, dtype=torch.int64, device=lanes.device).reshape(1, -1)
    return start if ticks is None else start + torch.arange(ticks, device=lanes.device)[:, None]


def _to_uniform(high: Tensor, low: Tensor, dtype: torch.dtype) -> Tensor:
    """Draws in the open interval (0, 1), centred in 2**52 cells (2**23 in float32): exact, never 0 or 1."""
    if dtype == torch.float64:
        return ((high << 20) + (low >> 12)).to(dtype).add_(0.5).mul_(2.0**-52)
    if dtype == torch.float32:
        return (high >> 9).to(dtype).add_(0.5).mul_(2.0**-23)
    raise RunError("random", f"dtype {dtype}", "float64 or float32", "draw in float32 and cast")


def _to_normal(high: Tensor, low: Tensor, dtype: torch.dtype) -> Tensor:
    """Box and Muller's pairs: sqrt(-2 log u) cos(2 pi v), sqrt(-2 log u) sin(2 pi v), from float64 uniforms."""
    u, v = _to_uniform(high, low, torch.float64).reshape(*high.shape[:-1], -1, 2).unbind(-1)
    radius, angle = torch.log(u).mul_(-2.0).sqrt_(), v * (2.0 * math.pi)
    return torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1).flatten(-2).to(dtype)


def uniform(key: int, lanes: Tensor, tick: int | Tensor, count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Uniform draws in (0, 1), (L, count).

    >>> key = stream_key(7, "car.gyro")
    >>> batch = uniform(key, torch.arange(2000), tick=5, count=3)
    >>> torch.equal(batch[1853:1854], uniform(key, torch.tensor([1853]), tick=5, count=3))
    True
    """
    high, low = _words(key, lanes, _ticks(lanes, tick, None), count)
    return _to_uniform(high, low, dtype)[0, :, :count]


def normal(key: int, lanes: Tensor, tick: int | Tensor, count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal draws, (L, count)."""
    high, low = _words(key, lanes, _ticks(lanes, tick, None), count)
    return _to_normal(high, low, dtype)[0, :, :count]


def integers(key: int, lanes: Tensor, tick: int | Tensor, count: int, low: int, high: int) -> Tensor:
    """Whole numbers in [low, high), int64 (L, count); high - low <= 2**31.

    The integer part of draw * (high - low) / 2**64, in integer arithmetic: bias below 2**-33.
    """
    size = high - low
    if not 1 <= size <= 2**31:
        raise RunError("integers", f"the range [{low}, {high})", "1 to 2**31 values", "give low < high")
    upper, lower = _words(key, lanes, _ticks(lanes, tick, None), count)
    return ((upper * size + ((lower * size) >> 32)) >> 32)[0, :, :count] + low


def uniform_block(
    key: int, lanes: Tensor, first_tick: int | Tensor, ticks: int, count: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Uniform draws of `ticks` consecutive ticks, (ticks, L, count): bit-equal to one call for each tick."""
    high, low = _words(key, lanes, _ticks(lanes, first_tick, ticks), count)
    return _to_uniform(high, low, dtype)[..., :count]


def normal_block(
    key: int, lanes: Tensor, first_tick: int | Tensor, ticks: int, count: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Standard normal draws of `ticks` consecutive ticks, (ticks, L, count): bit-equal to one call for each tick."""
    high, low = _words(key, lanes, _ticks(lanes, first_tick, ticks), count)
    return _to_normal(high, low, dtype)[..., :count]
