"""What generated C needs around its programs: what it uses of mathematics.h and kernels.h, in plain C99."""

from __future__ import annotations

import re

from simdl.engine.native.program import header

_WORD = re.compile(r"\b[a-zA-Z_]\w*\b")
_START = re.compile(r"^(?:M_FUNCTION|static inline) [\w ]*?\*?(\w+)\(")
_CONSTANT = re.compile(r"^#define (M_[A-Z0-9]+) (.*?)\s*(?:/\*.*\*/)?$")
_LIBRARY = re.compile(r"__builtin_(fmaf?|fabsf?|sqrtf?|floorf?|ceilf?|truncf?|rintf?|copysignf?|memcpy)\b")
_EXTREME = re.compile(  # a reduction that keeps no place
    r"( best\[W\];) \w+ place\[W\];(\n[^\n]*) place\[l\] = 0;([^\n]*(?:\n[^\n]*){1,6}?= best\[l\];)"
)
_SKIPPED = ("M_FUNCTION", "M_INFINITY", "M_NAN")

HEAD = """\
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#define restrict __restrict
#define _Bool bool
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif
#ifdef __FAST_MATH__
#error "-ffast-math changes results: build with -ffp-contract=off and without it"
#endif
#define W 1
#define LANES for (int l = 0; l < W; l++)
#define ELEMENTS(n) for (int e = 0; e < (n); e++)
#define M_INFINITY ((double)INFINITY)
#define M_NAN ((double)NAN)
"""
NARROW = """\
/* A double as a float. GCC 12 may take (double)(float)x for x where it makes vectors of conversions. */
#if defined(__GNUC__) && defined(__x86_64__)
static inline float k_narrow(double x)
{
    float y = (float)x;
    __asm__("" : "+x"(y));
    return y;
}
#else
#define k_narrow(x) ((float)(x))
#endif
"""
WEIGHTS = """\
/* out (m, n) = a (m, k) w (k, n): sums from the first to the last, each product fused with its sum. */
static void %(name)s(%(type)s (*restrict out)[W], %(type)s (*restrict a)[W], const %(type)s *restrict w, int m, int k,
                     int n)
{
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            %(type)s sum = 0;
            for (int q = 0; q < k; q++) sum = %(fma)s(a[i * k + q][0], w[q * n + j], sum);
            out[i * n + j][0] = sum;
        }
    }
}
"""
MATMUL = """\
static void %(name)s(%(type)s (*restrict out)[W], %(type)s (*restrict a)[W], %(type)s (*restrict b)[W], int m, int k,
                     int n)
{
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            %(type)s sum = 0;
            for (int q = 0; q < k; q++) sum = %(fma)s(a[i * k + q][0], b[q * n + j][0], sum);
            out[i * n + j][0] = sum;
        }
    }
}
"""
SOLVE = """\
/* x (n, m): a (n, n) x = b (n, m), by elimination with row pivoting; n * n is at most %(most)s. */
static void %(name)s(%(type)s (*restrict x)[W], %(type)s (*restrict a)[W], %(type)s (*restrict b)[W], int n, int m)
{
    %(type)s u[%(most)s];
    for (int i = 0; i < n * n; i++) u[i] = a[i][0];
    for (int i = 0; i < n * m; i++) x[i][0] = b[i][0];
    for (int p = 0; p < n; p++) {
        int best = p;
        for (int i = p + 1; i < n; i++) if (%(abs)s(u[i * n + p]) > %(abs)s(u[best * n + p])) best = i;
        if (best != p) {
            for (int j = 0; j < n; j++) {
                const %(type)s t = u[p * n + j];
                u[p * n + j] = u[best * n + j];
                u[best * n + j] = t;
            }
            for (int j = 0; j < m; j++) {
                const %(type)s t = x[p * m + j][0];
                x[p * m + j][0] = x[best * m + j][0];
                x[best * m + j][0] = t;
            }
        }
        for (int i = p + 1; i < n; i++) {
            const %(type)s f = u[i * n + p] / u[p * n + p];
            for (int j = p + 1; j < n; j++) u[i * n + j] = %(fma)s(-f, u[p * n + j], u[i * n + j]);
            for (int j = 0; j < m; j++) x[i * m + j][0] = %(fma)s(-f, x[p * m + j][0], x[i * m + j][0]);
        }
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int j = 0; j < m; j++) {
            %(type)s s = x[i * m + j][0];
            for (int q = i + 1; q < n; q++) s = %(fma)s(-u[i * n + q], x[q * m + j][0], s);
            x[i * m + j][0] = s / u[i * n + i];
        }
    }
}
"""
_F8 = {"type": "double", "fma": "fma", "abs": "fabs"}
_F4 = {"type": "float", "fma": "fmaf", "abs": "fabsf"}
_I8 = {"type": "int64_t", "fma": "K_SUM", "abs": ""}
_KERNELS = {
    "k_weights": (WEIGHTS, _F8), "k_weightsf": (WEIGHTS, _F4), "k_matmul_f8": (MATMUL, _F8),
    "k_matmul_f4": (MATMUL, _F4), "k_matmul_i8": ("#define K_SUM(a, b, c) ((a) * (b) + (c))\n" + MATMUL, _I8),
    "k_solve_f8": (SOLVE, _F8), "k_solve_f4": (SOLVE, _F4),
}  # fmt: skip


def plain(text: str) -> str:
    """Text of the emitter without what only some compilers know."""
    text = _LIBRARY.sub(r"\1", text)
    text = re.sub(r"__builtin_nanf\(\"\"\)", "NAN", text)
    text = re.sub(r"__builtin_nan\(\"\"\)", "M_NAN", text)
    text = text.replace("__builtin_inff()", "INFINITY").replace("__builtin_inf()", "M_INFINITY")
    text = re.sub(r" ?__attribute__\(\((?:aligned\(\d+\)|always_inline)\)\)", "", text)
    text = text.replace("__attribute__((noinline, unused)) ", "").replace('_Pragma("omp simd") ', "")
    text = _EXTREME.sub(r"\1\2\3", text)
    return re.sub(r"(k_weightsf?\(.*), \d+\);", r"\1);", text)


def prelude(programs: str, solved: int) -> str:
    """Everything that the text of programs calls. solved: the most elements of a matrix of a linear system."""
    known, constants = _definitions()
    used: dict[str, None] = {}
    waiting = sorted(set(_WORD.findall(programs)))
    while waiting:
        name = waiting.pop()
        if name in used or name not in known and name not in constants:
            continue
        used[name] = None
        waiting += _WORD.findall(known[name] if name in known else constants[name])
    words = set(_WORD.findall(programs))
    found = [HEAD]
    found += [f"#define {name} {text}" for name, text in constants.items() if name in used]
    found += ["", *(text for name, text in known.items() if name in used)]
    if "k_narrow" in words:
        found.append(NARROW)
    for name, (text, names) in _KERNELS.items():
        if name in words:
            found.append(text % {**names, "name": name, "most": str(solved)})
    return "\n".join(found)


def _definitions() -> tuple[dict[str, str], dict[str, str]]:
    """The functions and the constants of the engine's headers, as plain C."""
    functions: dict[str, str] = {}
    constants: dict[str, str] = {}
    for name in ("mathematics.h", "kernels.h"):
        lines = iter(header(name).splitlines())
        for line in lines:
            constant = _CONSTANT.match(line)
            if constant and constant[1] not in _SKIPPED and "(" not in constant[1]:
                constants[constant[1]] = constant[2].strip()
            start = _START.match(line)
            if start is None or start[1] in functions or start[1] == "k_narrow":
                continue
            body = [line.replace("M_FUNCTION", "static inline")]
            if not line.rstrip().endswith("}"):
                for more in lines:
                    body.append(more)
                    if more == "}":
                        break
            functions[start[1]] = plain("\n".join(body)).replace("m_fmaf(", "fmaf(").replace("m_fma(", "fma(")
    return functions, constants
