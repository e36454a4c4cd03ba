"""The C mathematics of the native engine: ulp, the same bits everywhere, torch's special values, vector code."""

import ctypes
import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch

import simdl

HEADER = Path(simdl.__file__).parent / "engine" / "native" / "mathematics.h"
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
FLAGS = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fwrapv", "-mprefer-vector-width=512"]
MACHINE = os.uname().machine if hasattr(os, "uname") else ""

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc, gcc or clang) on the path"),
    pytest.mark.skipif(MACHINE != "x86_64", reason=f"flags and levels are of x86-64, this machine is {MACHINE!r}"),
]

# name: (lowest, highest) argument of float64 and of float32, then the largest error in ulp of each
UNARY: dict[str, tuple[tuple[float, float], tuple[float, float], float, float]] = {
    "sin": ((-1e6, 1e6), (-1e5, 1e5), 1.0, 1.2),
    "cos": ((-1e6, 1e6), (-1e5, 1e5), 1.0, 1.2),
    "tan": ((-1e6, 1e6), (-1e5, 1e5), 1.4, 1.7),
    "asin": ((-1, 1), (-1, 1), 1.4, 1.5),
    "acos": ((-1, 1), (-1, 1), 1.4, 1.4),
    "atan": ((-1e3, 1e3), (-1e3, 1e3), 1.7, 1.7),
    "sinh": ((-711, 711), (-90, 90), 1.8, 1.7),
    "cosh": ((-711, 711), (-90, 90), 1.6, 1.6),
    "tanh": ((-20, 20), (-10, 10), 1.5, 1.5),
    "asinh": ((-1e3, 1e3), (-1e3, 1e3), 1.7, 1.6),
    "acosh": ((1, 1e3), (1, 1e3), 1.7, 1.6),
    "atanh": ((-1, 1), (-1, 1), 1.8, 1.6),
    "exp": ((-746, 710), (-104, 89), 1.25, 1.25),
    "exp2": ((-1075, 1024), (-150, 128), 1.5, 1.2),
    "expm1": ((-40, 710), (-20, 89), 1.6, 1.5),
    "sigmoid": ((-746, 40), (-104, 20), 1.4, 1.4),
    "log": ((0, 1e300), (0, 1e38), 1.0, 1.0),
    "log2": ((0, 1e300), (0, 1e38), 1.1, 1.0),
    "log10": ((0, 1e300), (0, 1e38), 1.0, 1.0),
    "log1p": ((-1, 1e300), (-1, 1e38), 1.5, 1.5),
    "erf": ((-7, 7), (-5, 5), 1.3, 1.1),
    "rsqrt": ((0, 1e300), (0, 1e38), 1.5, 1.5),
    "reciprocal": ((-1e3, 1e3), (-1e3, 1e3), 0.501, 0.501),
}
BINARY = {
    "pow": (1.1, 0.501),
    "atan2": (1.7, 1.7),
    "hypot": (1.3, 1.3),
}
EXACT = ["sign", "round", "floor", "ceil", "trunc", "sqrt"]
PAIRS = ["fmod", "remainder", "floor_div", "maximum", "minimum", "fmax", "fmin", "copysign"]
ONE = [*UNARY, *EXACT]
TWO = [*BINARY, *PAIRS]
KINDS = [("", "double", np.float64), ("f", "float", np.float32)]
# gcc only: clang answers __clang__
GCC = COMPILER is not None and "__clang__" not in subprocess.run(
    [COMPILER, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True
).stdout  # fmt: skip
REPORT = ["-fopt-info-vec-optimized"] if GCC else []


def source() -> str:
    """For each function a loop over an array and a call for a single value; one function per line."""
    lines = [f'#include "{HEADER}"']
    for letter, kind, _ in KINDS:
        for name, count in [(name, 1) for name in ONE] + [(name, 2) for name in TWO]:
            call, single = ("a[i]", "a") if count == 1 else ("a[i], b[i]", "a, b")
            lines.append(
                f"void many_{name}{letter}(long n, const {kind} *restrict a, const {kind} *restrict b, "
                f"{kind} *restrict y) {{ for (long i = 0; i < n; i++) y[i] = m_{name}{letter}({call}); }}"
            )
            lines.append(
                f"__attribute__((noinline)) {kind} one_{name}{letter}({kind} a, {kind} b) "
                f"{{ return m_{name}{letter}({single}); }} "
                f"void each_{name}{letter}(long n, const {kind} *a, const {kind} *b, {kind} *y) "
                f"{{ for (long i = 0; i < n; i++) y[i] = one_{name}{letter}(a[i], b[i]); }}"
            )
    return "\n".join(lines) + "\n"


class Library:
    def __init__(self, folder: Path, compiler: str, *flags: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "all.c").write_text(source())
        command = [compiler, *FLAGS, *flags, "-shared", "-fPIC", str(folder / "all.c"), "-o", str(folder / "all.so")]
        done = subprocess.run([*command, "-lm"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.report = done.stderr
        self.library = ctypes.CDLL(str(folder / "all.so"))

    def __call__(self, name: str, a: np.ndarray, b: np.ndarray | None = None, how: str = "many") -> np.ndarray:
        letter = "f" if a.dtype == np.float32 else ""
        b = a if b is None else b
        y = np.empty_like(a)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (a, b, y)]
        getattr(self.library, f"{how}_{name}{letter}")(ctypes.c_long(len(a)), *pointers)
        return y


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return Library(tmp_path_factory.mktemp("native"), COMPILER, "-O3", "-march=native", *REPORT)


def arguments(low: float, high: float, dtype: type, count: int = 20000, seed: int = 0) -> np.ndarray:
    """Uniform, near 1, over all magnitudes, with both ends and the neighbours of multiples of pi/4 and ln(2)/2."""
    random = np.random.default_rng(seed)
    most = max(abs(low), abs(high))
    spread = np.exp2(np.log2(most) - random.uniform(0, 60, count)) * random.choice([-1, 1], count)
    tiny = np.finfo(dtype).tiny * random.uniform(-2, 2, 100)
    steps = np.concatenate([np.arange(-60, 61) * np.pi / 4, np.arange(-60, 61) * np.log(2) / 2])
    near = np.concatenate([steps.astype(dtype), np.nextafter(steps.astype(dtype), dtype(np.inf))])
    few = random.uniform(max(low, -5), min(high, 5), count)
    x = np.concatenate([random.uniform(low, high, count), few, spread, tiny, near, [low, high]]).astype(dtype)
    return x[(x >= low) & (x <= high)]


def ulps(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance in units of the last place of the exact value; where both leave the range, 0."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(y.dtype)
        unit = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1))).astype(exact.dtype)
        error = np.abs(y.astype(exact.dtype) - exact) / unit
    return np.where(y == rounded, np.where(np.isfinite(rounded), error, 0), error)


NUMPY = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
         "atanh": "arctanh", "atan2": "arctan2", "pow": "power"}  # fmt: skip


def wide(name: str, *x: np.ndarray) -> np.ndarray:
    """The function in 80 bits."""
    arguments = [value.astype(np.longdouble) for value in x]
    with np.errstate(all="ignore"):
        if name == "sigmoid":
            return 1 / (1 + np.exp(-arguments[0]))
        if name == "rsqrt":
            return 1 / np.sqrt(arguments[0])
        return getattr(np, NUMPY.get(name, name))(*arguments)


def precise(name: str, x: float) -> np.longdouble:
    """The function by mpmath."""
    value = mpmath.mpf(float(x))
    own = {
        "sigmoid": lambda v: 1 / (1 + mpmath.exp(-v)),
        "rsqrt": lambda v: 1 / mpmath.sqrt(v),
        "reciprocal": lambda v: 1 / v,
        "exp2": lambda v: mpmath.power(2, v),
        "log2": lambda v: mpmath.log(v) / mpmath.log(2),
        "log1p": lambda v: mpmath.log(1 + v),
        "expm1": lambda v: mpmath.exp(v) - 1,
    }
    exact = own.get(name, getattr(mpmath, name, None))(value)
    head = np.longdouble(float(exact))
    return head + np.longdouble(float(exact - mpmath.mpf(float(head)))) if np.isfinite(head) else head


@pytest.mark.parametrize("name", [name for name in UNARY if name != "erf"])
def test_a_function_is_within_its_ulps_of_eighty_bits(library, name):
    assert np.finfo(np.longdouble).nmant >= 63
    for (low, high), dtype, bound in zip(UNARY[name][:2], (np.float64, np.float32), UNARY[name][2:]):
        x = arguments(low, high, dtype)
        error = ulps(library(name, x), wide(name, x))
        assert np.nanmax(error) <= bound, f"{dtype.__name__}: {np.nanmax(error)} at {x[np.nanargmax(error)]!r}"
        assert not np.isnan(error[np.isfinite(x)]).any(), x[np.isnan(error)]


@pytest.mark.parametrize("name", list(UNARY))
def test_a_function_is_within_its_ulps_of_arbitrary_precision(library, name):
    with mpmath.workdps(350 if name in ("expm1", "log1p") else 50):
        for (low, high), dtype, bound in zip(UNARY[name][:2], (np.float64, np.float32), UNARY[name][2:]):
            x = arguments(low, high, dtype, count=60 if name != "erf" else 400, seed=1)
            x = x[:: 1 if name == "erf" else 2]
            x = x[(x != 0) & (np.abs(x) != 1)]
            error = ulps(library(name, x), np.array([precise(name, value) for value in x]))
            assert error.max() <= bound, f"{dtype.__name__}: {error.max()} at {x[error.argmax()]!r}"


@pytest.mark.parametrize("name", list(BINARY))
def test_a_function_of_two_is_within_its_ulps(library, name):
    for (_, _, dtype), bound in zip(KINDS, BINARY[name]):
        random = np.random.default_rng(2)
        a, b = (random.uniform(-9, 9, 60000) * np.exp2(random.integers(-30, 30, 60000)) for _ in range(2))
        if name == "pow":
            a = np.where(np.arange(60000) % 3 == 0, random.uniform(0.9, 1.1, 60000), np.abs(a))
            with np.errstate(all="ignore"):
                b = random.uniform(-1.1, 1.1, 60000) * (700 if dtype is np.float64 else 87) / np.log(a)
        a, b = a.astype(dtype), b.astype(dtype)
        error = ulps(library(name, a, b), wide(name, a, b))
        worst = np.argmax(error)
        assert error.max() <= bound, f"{dtype.__name__}: {error.max()} at {a[worst]!r}, {b[worst]!r}"


def test_sine_and_cosine_stay_bounded_and_near_far_out(library):
    random = np.random.default_rng(3)
    for dtype, near, bound in ((np.float64, 2.0**46, 1.1), (np.float64, 2.0**50, 6), (np.float32, 2.0**20, 1.3)):
        x = random.uniform(-near, near, 20000).astype(dtype)
        assert ulps(library("sin", x), wide("sin", x)).max() <= bound
        assert ulps(library("cos", x), wide("cos", x)).max() <= bound
    far = np.float64(2.0) ** np.arange(50, 1024)
    s, c = library("sin", far), library("cos", far)
    assert np.all(np.abs(s**2 + c**2 - 1) < 1e-15) and len(set(s.tolist())) == 1


def test_a_quotient_and_its_remainder_are_exact(library):
    random = np.random.default_rng(4)
    for (_, _, dtype), digits in zip(KINDS, (52, 23)):
        b = (random.uniform(0.1, 9, 40000) * random.choice([-1, 1], 40000)).astype(dtype)
        a = (b * np.exp2(random.uniform(-3, digits - 1, 40000)) * random.choice([-1, 1], 40000)).astype(dtype)
        whole = (b * random.integers(-99, 99, 40000)).astype(dtype)
        for first in (a, whole, np.nextafter(whole, dtype(0))):
            assert np.array_equal(library("fmod", first, b), np.fmod(first, b))
            assert np.array_equal(library("remainder", first, b), np.remainder(first, b))
            torchs = torch.floor_divide(torch.from_numpy(first), torch.from_numpy(b)).numpy()
            assert np.array_equal(library("floor_div", first, b), torchs)


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5, 1.5, 1e-40, -1e-40, 1e-30, 1e30, -1e30,
           100.0, -100.0, 3e38, -3e38, np.inf, -np.inf, np.nan]  # fmt: skip
TORCH = {"pow": torch.pow, "atan2": torch.atan2, "hypot": torch.hypot, "fmod": torch.fmod, "remainder": torch.remainder,
         "floor_div": torch.floor_divide}  # fmt: skip


def same(ours: np.ndarray, torchs: np.ndarray, close: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        near = np.abs(ours - torchs) <= close * np.spacing(np.abs(torchs))
    equal = (ours == torchs) & (np.signbit(ours) == np.signbit(torchs))
    return equal | (np.isnan(ours) & np.isnan(torchs)) | (near & (ours != 0) & (torchs != 0))


@pytest.mark.parametrize("name", ONE)
def test_special_values_are_those_of_torch(library, name):
    for _, _, dtype in KINDS:
        x = np.array(SPECIAL, dtype)
        if name in ("sin", "cos", "tan"):
            x = x[~(np.abs(x) > 1e6) | np.isinf(x)]  # beyond the documented range
        if name == "sigmoid":
            x = x[~(x < -87) | np.isinf(x)]  # torch leaves the range early, by 1/(1 + inf)
        torchs = getattr(torch, name)(torch.from_numpy(x)).numpy()
        agree = same(library(name, x), torchs, 4)
        assert agree.all(), (dtype, x[~agree], library(name, x)[~agree], torchs[~agree])


@pytest.mark.parametrize("name", TWO)
def test_special_values_of_two_arguments_are_those_of_torch(library, name):
    for (_, _, dtype), limit in zip(KINDS, (2.0**53, 2.0**24)):
        a, b = (np.array(side, dtype) for side in zip(*itertools.product(SPECIAL, SPECIAL)))
        if name in ("fmod", "remainder", "floor_div"):
            with np.errstate(all="ignore"):
                inside = ~((np.abs(a / b) >= limit) & np.isfinite(a) & (b != 0))  # beyond the documented range
            a, b = a[inside], b[inside]
        function = TORCH.get(name) or getattr(torch, name)
        pairs = zip(a.tolist(), b.tolist())
        torchs = np.array([function(*(torch.tensor(v, dtype=torch.from_numpy(a).dtype) for v in p)).item()
                           for p in pairs], dtype)  # fmt: skip
        agree = same(library(name, a, b), torchs, 4)
        if name in ("maximum", "minimum", "fmax", "fmin"):
            agree |= (library(name, a, b) == 0) & (torchs == 0)  # torch itself leaves the sign of equal zeros open
        assert agree.all(), (dtype, a[~agree], b[~agree], library(name, a, b)[~agree], torchs[~agree])


def every(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    bits = random.integers(0, 2 ** (8 * np.dtype(dtype).itemsize), 3000, dtype=f"u{np.dtype(dtype).itemsize}")
    x = np.concatenate([random.normal(0, 3, 3000).astype(dtype), random.uniform(-1, 1, 2000).astype(dtype),
                        bits.view(dtype), np.repeat(np.array(SPECIAL, dtype), len(SPECIAL))])  # fmt: skip
    return x, np.concatenate([random.permutation(x[:8000]), np.tile(np.array(SPECIAL, dtype), len(SPECIAL))])


def levels() -> list:
    found = [("-O0", "-march=native"), ("-O1", "-march=x86-64-v2")]
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    wide = pytest.param(("-O3", "-march=x86-64-v3"), marks=pytest.mark.slow)
    return found + ([wide] if " avx2 " in flags and " fma " in flags else [])


def bits(y: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(y), np.nan, y).view(f"u{y.dtype.itemsize}") & ~np.where(np.isnan(y), 1, 0).astype(
        f"u{y.dtype.itemsize}"
    )


@pytest.mark.parametrize("flags", levels(), ids=" ".join)
def test_bits_do_not_depend_on_level_optimisation_or_compiler(library, tmp_path, flags):
    for compiler in {COMPILER, shutil.which("gcc"), shutil.which("clang")} - {None}:
        other = Library(tmp_path / Path(compiler).name, compiler, *flags)
        for _, _, dtype in KINDS:
            a, b = every(dtype)
            for name in ONE + TWO:
                for how in ("many", "each"):
                    assert np.array_equal(bits(library(name, a, b)), bits(other(name, a, b, how))), (name, how)


def test_a_lane_alone_has_the_bits_of_a_lane_among_many(library):
    for _, _, dtype in KINDS:
        a, b = every(dtype)
        for name in ONE + TWO:
            many = bits(library(name, a, b))
            assert np.array_equal(many, bits(library(name, a, b, "each"))), name
            shifted = bits(library(name, np.ascontiguousarray(a[3:]), np.ascontiguousarray(b[3:])))
            assert np.array_equal(many[3:], shifted), name


def test_sine_and_cosine_together_are_those_apart(tmp_path, library):
    (tmp_path / "both.c").write_text(
        f'#include "{HEADER}"\nvoid both(long n, const double *x, double *s, double *c)'
        "{ for (long i = 0; i < n; i++) m_sincos(x[i], s + i, c + i); }\n"
    )
    path = tmp_path / "both.so"
    subprocess.run([COMPILER, *FLAGS, "-O2", "-shared", "-fPIC", str(tmp_path / "both.c"), "-o", str(path), "-lm"],
                   check=True)  # fmt: skip
    x = every(np.float64)[0]
    s, c = np.empty_like(x), np.empty_like(x)
    ctypes.CDLL(str(path)).both(ctypes.c_long(len(x)), *(ctypes.c_void_p(array.ctypes.data) for array in (x, s, c)))
    assert np.array_equal(bits(s), bits(library("sin", x))) and np.array_equal(bits(c), bits(library("cos", x)))


@pytest.mark.skipif(not GCC, reason="only gcc reports its vector loops this way")
def test_every_loop_becomes_vector_code(library):
    vector = {int(line) for line in re.findall(r"all\.c:(\d+):\d+: optimized: loop vectorized", library.report)}
    loops = {number: line for number, line in enumerate(source().split("\n"), 1) if line.startswith("void many_")}
    scalar = [re.search(r"many_(\w+)", line)[1] for number, line in loops.items() if number not in vector]
    assert len(loops) == 2 * (len(ONE) + len(TWO)) and not scalar
