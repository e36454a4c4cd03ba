"""Attacks on .nnet and .polar text: sizes that nothing backs, lines without end, numbers that are none."""

from __future__ import annotations

from tests.attacks.attack import Attack, damaged

NNET = b"// a network\n1,2,1,2,\n2,1,\n0,\n-1,-1,\n1,1,\n0,0,0,\n1,1,1,\n0.5,-0.5,\n0.25,\n"
POLAR = b"2\n1\n0\nAffine\n0.5\n-0.5\n0.25\n0.0\n1.0\n"


def _nnet(name: str, old: bytes, new: bytes, message: str) -> Attack:
    assert old in NNET
    return Attack(f"nnet: {name}", "net.nnet", lambda mark: NNET.replace(old, new, 1), message)


def _polar(name: str, data: bytes, message: str) -> Attack:
    return Attack(f"polar: {name}", "net.polar", lambda mark: data, message)


ATTACKS: list[Attack] = [
    _nnet("sizes of a terabyte", b"1,2,1,2,\n2,1,", b"2,2,1,2,\n2,1000000,1,", "numbers for the sizes"),
    _nnet("a billion inputs", b"1,2,1,2", b"1,1000000000,1,2", "whole number"),
    _nnet("negative sizes", b"1,2,1,2", b"1,-2,1,2", "whole number"),
    _nnet("a million layers", b"1,2,1,2", b"1000000,2,1,2", "at most 1000"),
    _nnet("a line without end", b"0.5,-0.5,", b"0.5," * 10**6, "a line of"),
    _nnet("a digit without end", b"0.5,-0.5", b"1" * 10**6 + b",1", "not finite"),
    _nnet("a count without end", b"1,2,1,2", b"9" * 10**5 + b",2,1,2", "whole number|first line"),
    _nnet("NaN", b"0.5,-0.5", b"nan,1", "not finite"), _nnet("text", b"0.5,-0.5", b"__import__('os'),1", "could not"),
    _nnet("zero range", b"1,1,1,", b"0,1,1,", "zero"), _nnet("more lines", b"0.25,\n", b"0.25,\n1,\n", "further lines"),
    _nnet("not ASCII", b"0.25", "٣".encode(), "not text"),
    Attack("nnet: ten million lines", "net.nnet", lambda mark: NNET + b"1,\n" * 10**7, "further lines"),
    _polar("sizes of a terabyte", b"1000000\n1000000\n0\nAffine\n1\n", "numbers for the sizes"),
    _polar("a million layers", b"2\n1\n1000000\n" + b"2\n" * 1000, "whole number"),
    _polar("unknown activation", POLAR.replace(b"Affine", b"eval"), "activation"),
    _polar("infinity", POLAR.replace(b"0.25", b"inf"), "not finite"),
    _polar("more numbers", POLAR + b"1\n", "further numbers"),
    _polar("a line without end", POLAR.replace(b"0.25", b"1" * 2_000_000), "a line of"),
    _polar("ten million lines", POLAR + b"1\n" * 10**7, "further numbers"),
]


def damages() -> list[tuple[str, str, bytes]]:
    return [(f"{kind}: {name}", f"net.{kind}", data) for kind, good in (("nnet", NNET), ("polar", POLAR))
            for name, data in damaged(good, 20)]  # fmt: skip
