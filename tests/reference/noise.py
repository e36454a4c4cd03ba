"""Random numbers of the specification, in whole numbers: Philox4x32-10 keyed by a stream, counted by tick and lane.

Key: the first eight bytes (little-endian) of BLAKE2b of "seed NUL stream". Counter words: tick mod 2^32, tick div 2^32,
lane, draw div 2. Each counter gives two draws of 64 bits, the first output word being the upper half of the first draw.
Source: Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC'11).
"""

from __future__ import annotations

import hashlib
import math

WORD = 2**32


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Ten rounds of Philox4x32.

    The test vector of the authors' library (kat_vectors):

    >>> " ".join(f"{word:08x}" for word in philox((0, 0, 0, 0), (0, 0)))
    '6627e8d5 e169c58d bc57ac4c 9b00dbd8'
    """
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = second // WORD ^ b ^ left, second % WORD, first // WORD ^ d ^ right, first % WORD
        left, right = (left + 0x9E3779B9) % WORD, (right + 0xBB67AE85) % WORD
    return a, b, c, d


def draws(seed: int, stream: str, lane: int, tick: int, pair: int = 0) -> tuple[float, float]:
    """The two uniforms in (0, 1) of one counter: the upper 52 bits of each draw, centred in their cell."""
    digest = hashlib.blake2b(f"{seed}\0{stream}".encode(), digest_size=8).digest()
    key = int.from_bytes(digest, "little")
    words = philox((tick % WORD, tick // WORD, lane, pair), (key % WORD, key // WORD))
    first, second = words[0] * WORD + words[1], words[2] * WORD + words[3]
    return (first // 2**12 + 0.5) / 2**52, (second // 2**12 + 0.5) / 2**52


def draw(distribution: str, seed: int, stream: str, lane: int, tick: int) -> float:
    """A scalar noise's value: a uniform, or the first of Box and Muller's pair of normals."""
    u, v = draws(seed, stream, lane, tick)
    return u if distribution == "uniform" else math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
