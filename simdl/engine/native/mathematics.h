/* Mathematics of the native engine: branch-free functions that compilers turn into vector code.
 *
 * m_NAME(double) and m_NAMEf(float). Every operation is an IEEE 754 operation rounded to nearest, selects replace
 * branches, and every fused multiply is written out, so a result has the same bits at any number of lanes, from any
 * compiler and at any x86-64 level (only the sign and payload of a nan are open). Build with -ffp-contract=off
 * -fno-math-errno -fno-trapping-math; never with -ffast-math, which deletes the range reductions. Below x86-64-v3 there
 * is no FMA instruction and __builtin_fma calls libm: the same bits, but scalar and slow. Little-endian machines only.
 *
 * Polynomials interpolate the function at Chebyshev nodes (solved with 110 digits, then rounded), in Estrin's order for
 * short dependency chains; the error of each against its function is noted as 2^-n for float64 and is at most 2^-26 for
 * float32.
 *
 * Largest errors seen, in ulp, float64 / float32 (400 000 or more arguments a function, against 80 bits; no proofs):
 *   sin 1.0 / 1.1    asin 1.2 / 1.4    sinh 1.6 / 1.6    asinh 1.6 / 1.6   exp 1.3 / 1.2     log 0.9 / 0.9
 *   cos 1.0 / 1.1    acos 0.8 / 0.9    cosh 1.4 / 1.4    acosh 1.5 / 1.5   exp2 1.4 / 1.1    log2 1.0 / 0.9
 *   tan 1.3 / 1.6    atan 1.5 / 1.6    tanh 1.4 / 1.5    atanh 1.7 / 1.5   expm1 1.5 / 1.3   log10 0.8 / 0.8
 *   pow 1.0 / 0.5    atan2 1.5 / 1.5   sigmoid 1.3 / 1.3  erf 1.2 / 1.0    rsqrt 1.5 / 1.5   log1p 1.4 / 1.4
 *   hypot 1.2 / 1.2
 */
#ifndef SIMDL_MATHEMATICS_H
#define SIMDL_MATHEMATICS_H

#include <stdint.h>

/* Always inline: a call left in a loop keeps it from becoming vector code. */
#define M_FUNCTION static inline __attribute__((always_inline))
#define m_fma __builtin_fma
#define m_fmaf __builtin_fmaf
#define M_INFINITY __builtin_inf()
#define M_NAN __builtin_nan("")
#define M_SIGN 0x8000000000000000u
#define M_ONE 0x3ff0000000000000u   /* bits of 1.0 */
#define M_ROUND 0x1.8p52            /* adding it leaves the nearest integer in the low bits */
#define M_SIGNF 0x80000000u
#define M_ONEF 0x3f800000u
#define M_ROUNDF 0x1.8p23f

M_FUNCTION uint64_t m_bits(double x) { uint64_t b; __builtin_memcpy(&b, &x, 8); return b; }
M_FUNCTION double m_from(uint64_t b) { double x; __builtin_memcpy(&x, &b, 8); return x; }
M_FUNCTION uint32_t m_bitsf(float x) { uint32_t b; __builtin_memcpy(&b, &x, 4); return b; }
M_FUNCTION float m_fromf(uint32_t b) { float x; __builtin_memcpy(&x, &b, 4); return x; }

/* 2^k of a whole k, -1023 < k < 1024. */
M_FUNCTION double m_power2(double k) { return m_from((m_bits(k + M_ROUND) << 52) + M_ONE); }
M_FUNCTION float m_power2f(float k) { return m_fromf((m_bitsf(k + M_ROUNDF) << 23) + M_ONEF); }

M_FUNCTION double m_abs(double x) { return __builtin_fabs(x); }
M_FUNCTION float m_absf(float x) { return __builtin_fabsf(x); }
M_FUNCTION double m_copysign(double x, double y) { return __builtin_copysign(x, y); }
M_FUNCTION float m_copysignf(float x, float y) { return __builtin_copysignf(x, y); }
M_FUNCTION double m_sqrt(double x) { return __builtin_sqrt(x); }
M_FUNCTION float m_sqrtf(float x) { return __builtin_sqrtf(x); }
M_FUNCTION double m_floor(double x) { return __builtin_floor(x); }
M_FUNCTION float m_floorf(float x) { return __builtin_floorf(x); }
M_FUNCTION double m_ceil(double x) { return __builtin_ceil(x); }
M_FUNCTION float m_ceilf(float x) { return __builtin_ceilf(x); }
M_FUNCTION double m_trunc(double x) { return __builtin_trunc(x); }
M_FUNCTION float m_truncf(float x) { return __builtin_truncf(x); }
/* Half to even, as torch.round. */
M_FUNCTION double m_round(double x) { return __builtin_rint(x); }
M_FUNCTION float m_roundf(float x) { return __builtin_rintf(x); }
/* torch.sign: 0 for either zero and for nan. */
M_FUNCTION double m_sign(double x) { return x > 0 ? 1.0 : (x < 0 ? -1.0 : 0.0); }
M_FUNCTION float m_signf(float x) { return x > 0 ? 1.0f : (x < 0 ? -1.0f : 0.0f); }
M_FUNCTION double m_reciprocal(double x) { return 1.0 / x; }
M_FUNCTION float m_reciprocalf(float x) { return 1.0f / x; }
M_FUNCTION double m_rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
M_FUNCTION float m_rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }
/* torch.maximum, torch.minimum: a nan wins. Of equal values (the zeros) the first. */
M_FUNCTION double m_maximum(double a, double b) { return a >= b ? a : (a != a ? a : b); }
M_FUNCTION float m_maximumf(float a, float b) { return a >= b ? a : (a != a ? a : b); }
M_FUNCTION double m_minimum(double a, double b) { return a <= b ? a : (a != a ? a : b); }
M_FUNCTION float m_minimumf(float a, float b) { return a <= b ? a : (a != a ? a : b); }
/* torch.fmax, torch.fmin: a nan loses. */
M_FUNCTION double m_fmax(double a, double b) { return a >= b ? a : (b != b ? a : b); }
M_FUNCTION float m_fmaxf(float a, float b) { return a >= b ? a : (b != b ? a : b); }
M_FUNCTION double m_fmin(double a, double b) { return a <= b ? a : (b != b ? a : b); }
M_FUNCTION float m_fminf(float a, float b) { return a <= b ? a : (b != b ? a : b); }
/* torch.clamp: min(max(x, low), high); a nan in any argument wins. */
M_FUNCTION double m_clamp(double x, double low, double high) { return m_minimum(m_maximum(x, low), high); }
M_FUNCTION float m_clampf(float x, float low, float high) { return m_minimumf(m_maximumf(x, low), high); }

/* Trigonometry. x = k pi/2 + r, |r| <= pi/4, by fused multiplies with pi/2 in three parts (161 bits); the first step is
 * exact, and the third part joins late because it only matters next to a multiple of pi/2. From 2^46 on k may be
 * the neighbour of the nearest (5 ulp). Beyond 2^50 (double) or 2^20 (float) |x| is taken for that limit: bounded,
 * sin^2 + cos^2 = 1. inf gives nan. Polynomials of sin 2^-55, cos 2^-59.
 */
M_FUNCTION uint64_t m_quadrant(double a, double *s, double *s_rest, double *c, double *c_rest)
{
    double end = a - a;   /* nan from inf and nan */
    a = a < 0x1p50 ? a : 0x1p50;
    double t = m_fma(a, 0x1.45f306dc9c883p-1, M_ROUND);
    double k = t - M_ROUND;
    double r0 = m_fma(-k, 0x1.921fb54442d18p+0, a), p = k * 0x1.1a62633145c07p-54;
    double r = r0 - p;
    double low = ((r0 - r) - p) + m_fma(k, 0x1.f1976b7ed8fbcp-110, m_fma(-k, 0x1.1a62633145c07p-54, p) + end);
    double z = r * r, z2 = z * z;
    double r3 = r * z, e = m_fma(r3 * z2, m_fma(z2, m_fma(z, 0x1.5deb31d167e93p-33, -0x1.ae5fb0a5df712p-26),
        m_fma(z, 0x1.71de373e0fee6p-19, -0x1.a01a019e3e0afp-13)), m_fma(r3, m_fma(z, 0x1.1111111110a86p-7,
        -0x1.5555555555554p-3), low));
    *s = r + e;
    *s_rest = (r - *s) + e;
    double g = m_fma(0.5, z, -m_fma(z2 * z2, m_fma(z2, m_fma(z, -0x1.905db35e3086ap-37, 0x1.1eeb3bafbb15dp-29),
        m_fma(z, -0x1.27e4f9eb9238ep-22, 0x1.a01a019f2bd7bp-16)), m_fma(z2, m_fma(z, -0x1.6c16c16c168dp-10,
        0x1.5555555555555p-5), -r * low)));
    *c = 1.0 - g;
    *c_rest = (1.0 - *c) - g;
    return m_bits(t);
}

M_FUNCTION void m_sincos(double x, double *s, double *c)
{
    double p, pl, q, ql;
    uint64_t n = m_quadrant(m_abs(x), &p, &pl, &q, &ql);
    double odd = m_from((n & 1) << 62);
    double u = odd != 0 ? q : p, v = odd != 0 ? p : q;
    *s = u * m_from(M_ONE | (((n << 62) ^ m_bits(x)) & M_SIGN));
    *c = v * m_from(M_ONE | (((n + 1) << 62) & M_SIGN));
}

M_FUNCTION double m_sin(double x) { double s, c; m_sincos(x, &s, &c); return s; }
M_FUNCTION double m_cos(double x) { double s, c; m_sincos(x, &s, &c); return c; }

M_FUNCTION double m_tan(double x)
{
    double p, pl, q, ql;
    uint64_t n = m_quadrant(m_abs(x), &p, &pl, &q, &ql);
    double odd = m_from((n & 1) << 62);
    double a = odd != 0 ? q : p, al = odd != 0 ? ql : pl, b = odd != 0 ? p : q, bl = odd != 0 ? pl : ql;
    double g = 1.0 / b, y = a * g;
    y = m_fma(m_fma(-y, b, a) + m_fma(-y, bl, al), g, y);
    return y * m_from(M_ONE | (((n << 63) ^ m_bits(x)) & M_SIGN));
}

M_FUNCTION uint32_t m_quadrantf(float a, float *s, float *s_rest, float *c, float *c_rest)
{
    float end = a - a;   /* nan from inf and nan */
    a = a < 0x1p20f ? a : 0x1p20f;
    float t = m_fmaf(a, 0x1.45f306p-1f, M_ROUNDF);
    float k = t - M_ROUNDF;
    float r0 = m_fmaf(-k, 0x1.921fb6p+0f, a), p = k * 0x1.777a5cp-25f;
    float r = r0 + p;
    float low = ((r0 - r) + p) + m_fmaf(k, 0x1.ee59dap-50f, m_fmaf(k, 0x1.777a5cp-25f, -p) + end);
    float z = r * r, z2 = z * z;
    float e = m_fmaf(r * z, m_fmaf(z2, -0x1.9a9318p-13f, m_fmaf(z, 0x1.110bc2p-7f, -0x1.555552p-3f)), low);
    *s = r + e;
    *s_rest = (r - *s) + e;
    float g = m_fmaf(0.5f, z, -m_fmaf(z2, m_fmaf(z2, 0x1.9bacd6p-16f, m_fmaf(z, -0x1.6c128p-10f,
        0x1.555554p-5f)), -r * low));
    *c = 1.0f - g;
    *c_rest = (1.0f - *c) - g;
    return m_bitsf(t);
}

M_FUNCTION void m_sincosf(float x, float *s, float *c)
{
    float p, pl, q, ql;
    uint32_t n = m_quadrantf(m_absf(x), &p, &pl, &q, &ql);
    float odd = m_fromf((n & 1) << 30);
    float u = odd != 0 ? q : p, v = odd != 0 ? p : q;
    *s = u * m_fromf(M_ONEF | (((n << 30) ^ m_bitsf(x)) & M_SIGNF));
    *c = v * m_fromf(M_ONEF | (((n + 1) << 30) & M_SIGNF));
}

M_FUNCTION float m_sinf(float x) { float s, c; m_sincosf(x, &s, &c); return s; }
M_FUNCTION float m_cosf(float x) { float s, c; m_sincosf(x, &s, &c); return c; }

M_FUNCTION float m_tanf(float x)
{
    float p, pl, q, ql;
    uint32_t n = m_quadrantf(m_absf(x), &p, &pl, &q, &ql);
    float odd = m_fromf((n & 1) << 30);
    float a = odd != 0 ? q : p, al = odd != 0 ? ql : pl, b = odd != 0 ? p : q, bl = odd != 0 ? pl : ql;
    float g = 1.0f / b, y = a * g;
    y = m_fmaf(m_fmaf(-y, b, a) + m_fmaf(-y, bl, al), g, y);
    return y * m_fromf(M_ONEF | (((n << 31) ^ m_bitsf(x)) & M_SIGNF));
}

/* Inverse trigonometry. asin(s) = s + s z A(z), z = s^2 <= 1/4 (2^-57), and asin(x) = pi/2 - 2 asin(sqrt((1 - x)/2)).
 * atan: a ratio t, |t| <= tan(pi/8), at 0, pi/4 or pi/2 (2^-57).
 */
M_FUNCTION double m_asin_rest(double z)
{
    double z2 = z * z, z4 = z2 * z2, z8 = z4 * z4;
    return z * m_fma(z8, m_fma(z4, 0x1.d72b2bc8155f8p-6, m_fma(z2, m_fma(z, -0x1.e6aaa8a0a04ccp-7,
        0x1.1d189408314eep-6), m_fma(z, 0x1.65a9c4dfcf8b2p-8, 0x1.52420b04b37bep-7))), m_fma(z4, m_fma(z2,
        m_fma(z, 0x1.782651caa6547p-7, 0x1.c9cf07674736ap-7), m_fma(z, 0x1.1c4d35cf95421p-6,
        0x1.6e8bb1c8209a2p-6)), m_fma(z2, m_fma(z, 0x1.f1c71c1db0623p-6, 0x1.6db6db6e31f13p-5), m_fma(z,
        0x1.3333333332ecap-4, 0x1.5555555555556p-3))));
}

/* sqrt(z) - s, s = sqrt(z) rounded: 0 or large enough to absorb the term that guards 0/0. */
M_FUNCTION double m_sqrt_rest(double z, double s) { return 0.5 * m_fma(-s, s, z) / (s + 0x1p-900); }

M_FUNCTION double m_asin(double x)
{
    double a = m_abs(x);
    double z = a < 0.5 ? a * a : 0.5 * (1.0 - a);
    double s = a < 0.5 ? a : m_sqrt(z);
    double e = m_fma(s, m_asin_rest(z), a < 0.5 ? 0 : m_sqrt_rest(z, s));
    double y = a < 0.5 ? s + e : 0x1.921fb54442d18p+0 - (2.0 * s + (2.0 * e - 0x1.1a62633145c07p-54));
    return m_copysign(y, x);
}

M_FUNCTION double m_acos(double x)
{
    double a = m_abs(x);
    double z = a < 0.5 ? a * a : 0.5 * (1.0 - a);
    double s = a < 0.5 ? x : m_sqrt(z);
    double e = m_fma(s, m_asin_rest(z), a < 0.5 ? 0 : m_sqrt_rest(z, s));
    double high = a < 0.5 ? 0x1.921fb54442d18p+0 : (x > 0 ? 0.0 : 0x1.921fb54442d18p+1);
    double low = a < 0.5 ? 0x1.1a62633145c07p-54 : (x > 0 ? 0.0 : 0x1.1a62633145c07p-53);
    double times = a < 0.5 ? -1.0 : (x > 0 ? 2.0 : -2.0);
    return high + (times * s + m_fma(times, e, low));
}

/* atan(b / a) of a, b >= 0. */
M_FUNCTION double m_angle(double b, double a)
{
    int far = b > 0x1.3504f333f9de6p+1 * a, mid = b > 0x1.a827999fcef32p-2 * a;
    double top = far ? -a : (mid ? b - a : b), bottom = far ? b : (mid ? a + b : a);
    double high = far ? 0x1.921fb54442d18p+0 : (mid ? 0x1.921fb54442d18p-1 : 0.0);
    double low = far ? 0x1.1a62633145c07p-54 : (mid ? 0x1.1a62633145c07p-55 : 0.0);
    double g = 1.0 / bottom, t = top * g;
    low = m_fma(m_fma(-t, bottom, top), g, low);
    double z = t * t, z2 = z * z, z4 = z2 * z2, z8 = z4 * z4;
    return high + (t + m_fma(t * z, m_fma(z8, m_fma(z2, -0x1.3a03a36923274p-6, m_fma(z, 0x1.414ff0b841a9cp-5,
        -0x1.a09318ec93cecp-5)), m_fma(z4, m_fma(z2, m_fma(z, 0x1.dfe50abb518e4p-5, -0x1.10fa65570f9fep-4),
        m_fma(z, 0x1.3b1261b89f53p-4, -0x1.745d0b1a496d3p-4)), m_fma(z2, m_fma(z, 0x1.c71c7184e2ef2p-4,
        -0x1.24924924358fep-3), m_fma(z, 0x1.9999999999341p-3, -0x1.5555555555555p-2)))), low));
}

M_FUNCTION double m_atan(double x)
{
    double a = m_abs(x);
    return m_copysign(m_angle(a > 0x1p100 ? 0x1p100 : a, 1.0), x);
}

M_FUNCTION double m_atan2(double y, double x)
{
    double b = m_abs(y), a = m_abs(x);
    int flat = a == M_INFINITY, steep = b == M_INFINITY, zero = b == 0 && a == 0;
    double most = a > b ? a : b, scale = most > 0x1p900 ? 0x1p-200 : (most < 0x1p-800 ? 0x1p200 : 1.0);
    double rise = steep ? 1.0 : b * (flat ? 0.0 : scale), run = flat || zero ? 1.0 : a * (steep ? 0.0 : scale);
    double angle = m_angle(rise, run);
    double back = 0x1.921fb54442d18p+1 - (angle - 0x1.1a62633145c07p-53);
    return m_copysign(m_copysign(1.0, x) < 0 ? back : angle, y);
}

M_FUNCTION float m_asin_restf(float z)
{
    float z2 = z * z, z4 = z2 * z2;
    return z * m_fmaf(z4, 0x1.37fe16p-5f, m_fmaf(z2, m_fmaf(z, 0x1.b311d2p-6f, 0x1.70a6bcp-5f), m_fmaf(z,
        0x1.332732p-4f, 0x1.55555ep-3f)));
}

/* sqrt(z) - s, s = sqrt(z) rounded: 0 or large enough to absorb the term that guards 0/0. */
M_FUNCTION float m_sqrt_restf(float z, float s) { return 0.5f * m_fmaf(-s, s, z) / (s + 0x1p-90f); }

M_FUNCTION float m_asinf(float x)
{
    float a = m_absf(x);
    float z = a < 0.5f ? a * a : 0.5f * (1.0f - a);
    float s = a < 0.5f ? a : m_sqrtf(z);
    float e = m_fmaf(s, m_asin_restf(z), a < 0.5f ? 0 : m_sqrt_restf(z, s));
    float y = a < 0.5f ? s + e : 0x1.921fb6p+0f - (2.0f * s + (2.0f * e + 0x1.777a5cp-25f));
    return m_copysignf(y, x);
}

M_FUNCTION float m_acosf(float x)
{
    float a = m_absf(x);
    float z = a < 0.5f ? a * a : 0.5f * (1.0f - a);
    float s = a < 0.5f ? x : m_sqrtf(z);
    float e = m_fmaf(s, m_asin_restf(z), a < 0.5f ? 0 : m_sqrt_restf(z, s));
    float high = a < 0.5f ? 0x1.921fb6p+0f : (x > 0 ? 0.0f : 0x1.921fb6p+1f);
    float low = a < 0.5f ? -0x1.777a5cp-25f : (x > 0 ? 0.0f : -0x1.777a5cp-24f);
    float times = a < 0.5f ? -1.0f : (x > 0 ? 2.0f : -2.0f);
    return high + (times * s + m_fmaf(times, e, low));
}

M_FUNCTION float m_anglef(float b, float a)
{
    int far = b > 0x1.3504f4p+1f * a, mid = b > 0x1.a8279ap-2f * a;
    float top = far ? -a : (mid ? b - a : b), bottom = far ? b : (mid ? a + b : a);
    float high = far ? 0x1.921fb6p+0f : (mid ? 0x1.921fb6p-1f : 0.0f);
    float low = far ? -0x1.777a5cp-25f : (mid ? -0x1.777a5cp-26f : 0.0f);
    float g = 1.0f / bottom, t = top * g;
    low = m_fmaf(m_fmaf(-t, bottom, top), g, low);
    float z = t * t, z2 = z * z, z4 = z2 * z2;
    return high + (t + m_fmaf(t * z, m_fmaf(z4, -0x1.08351cp-4f, m_fmaf(z2, m_fmaf(z, 0x1.b80b48p-4f,
        -0x1.241ffap-3f), m_fmaf(z, 0x1.99973p-3f, -0x1.555554p-2f))), low));
}

M_FUNCTION float m_atanf(float x)
{
    float a = m_absf(x);
    return m_copysignf(m_anglef(a > 0x1p60f ? 0x1p60f : a, 1.0f), x);
}

M_FUNCTION float m_atan2f(float y, float x)
{
    float b = m_absf(y), a = m_absf(x);
    int flat = a == (float)M_INFINITY, steep = b == (float)M_INFINITY, zero = b == 0 && a == 0;
    float most = a > b ? a : b, scale = most > 0x1p100f ? 0x1p-40f : (most < 0x1p-80f ? 0x1p40f : 1.0f);
    float rise = steep ? 1.0f : b * (flat ? 0.0f : scale), run = flat || zero ? 1.0f : a * (steep ? 0.0f : scale);
    float angle = m_anglef(rise, run);
    float back = 0x1.921fb6p+1f - (angle + 0x1.777a5cp-24f);
    return m_copysignf(m_copysignf(1.0f, x) < 0 ? back : angle, y);
}

/* Exponentials. x = k ln 2 + r, |r| <= ln(2)/2; e^r - 1 = r + r^2 E(r) (2^-55). 2^k is applied in two factors, so that
 * overflow and subnormal results round once.
 */
M_FUNCTION double m_exp_rest(double r, double base)
{
    double r2 = r * r, r4 = r2 * r2;
    return m_fma(r2 * r4, m_fma(r4, m_fma(r, 0x1.af39c20098071p-26, 0x1.28926932adb78p-22), m_fma(r2, m_fma(r,
        0x1.71de0d383914ap-19, 0x1.a019b84d17a8p-16), m_fma(r, 0x1.a01a01a7e29cdp-13, 0x1.6c16c178bd6bcp-10))),
        m_fma(r2, m_fma(r2, m_fma(r, 0x1.111111111098cp-7, 0x1.5555555553ce3p-5), m_fma(r, 0x1.5555555555556p-3,
        0x1.0000000000001p-1)), base));
}

/* (1 + t) 2^k for |k| < 2000. */
M_FUNCTION double m_scale(double t, double k)
{
    double h = m_fma(k, 0.5, M_ROUND);
    double first = m_from((m_bits(h) << 52) + M_ONE);
    return m_fma(t, first, first) * m_power2(k - (h - M_ROUND));
}

/* e^(x + low) 2^shift for a low far below x; the rounding of r is put back. */
M_FUNCTION double m_exp_of(double x, double low, double shift)
{
    double k = m_fma(x, 0x1.71547652b82fep+0, M_ROUND) - M_ROUND;
    double r0 = m_fma(-k, 0x1.62e42fefa39efp-1, x), p = m_fma(k, 0x1.abc9e3b39803fp-56, -low);
    double r = r0 - p;
    double y = m_scale(r + m_exp_rest(r, (r0 - r) - p), k + shift);
    y = x > 800.0 ? M_INFINITY : y;
    return x < -800.0 ? 0.0 : y;
}

M_FUNCTION double m_exp(double x)
{
    double k = m_fma(x, 0x1.71547652b82fep+0, M_ROUND) - M_ROUND;
    double r = m_fma(-k, 0x1.abc9e3b39803fp-56, m_fma(-k, 0x1.62e42fefa39efp-1, x));
    double y = m_scale(m_exp_rest(r, r), k);
    y = x > 800.0 ? M_INFINITY : y;
    return x < -800.0 ? 0.0 : y;
}

M_FUNCTION double m_exp2(double x)
{
    x = 1100.0 < x ? 1100.0 : x;
    x = -1100.0 > x ? -1100.0 : x;
    double k = (x + M_ROUND) - M_ROUND;
    double r = x - k, r2 = r * r, r4 = r2 * r2;
    return m_scale(m_fma(r2 * r4, m_fma(r4, m_fma(r, 0x1.e9bcd4e31cbbap-32, 0x1.e5eb174f596a7p-28), m_fma(r2,
        m_fma(r, 0x1.b525080c0e359p-24, 0x1.62bfe3e1f42e8p-20), m_fma(r, 0x1.ffcbfc62140e6p-17,
        0x1.430913039a652p-13))), m_fma(r2, m_fma(r2, m_fma(r, 0x1.5d87fe78a5d9ep-10, 0x1.3b2ab6fba3804p-7),
        m_fma(r, 0x1.c6b08d704a0cp-5, 0x1.ebfbdff82c59p-3)), r * 0x1.62e42fefa39efp-1)), k);
}

M_FUNCTION double m_expm1(double x)
{
    double v = 800.0 < x ? 800.0 : x;
    v = -60.0 > v ? -60.0 : v;
    double k = m_fma(v, 0x1.71547652b82fep+0, M_ROUND) - M_ROUND;
    double r0 = m_fma(-k, 0x1.62e42fefa39efp-1, v), p = k * 0x1.abc9e3b39803fp-56;
    double r = r0 - p, e = m_exp_rest(r, (r0 - r) - p);
    double h = (m_fma(k, 0.5, M_ROUND)) - M_ROUND;
    double first = m_power2(h), back = m_power2(h - k);
    return m_copysign(m_fma(e, first, m_fma(r, first, first - back)) * m_power2(k - h), x);
}

/* sinh: a polynomial below 1.25 (2^-56); else from e^|x| / 2, which does not overflow early. */
M_FUNCTION double m_sinh(double x)
{
    double a = m_abs(x), z = a * a, z2 = z * z, z4 = z2 * z2, z8 = z4 * z4;
    double e = m_exp_of(a, 0.0, -1.0);
    double y = a < 1.25 ? m_fma(a * z, m_fma(z4, m_fma(z2, m_fma(z, 0x1.9ca4fb518cf34p-49,
        0x1.ae6c38129fe1ep-41), m_fma(z, 0x1.61247a6b2aaap-33, 0x1.ae64565a65f01p-26)), m_fma(z2, m_fma(z,
        0x1.71de3a5589d7dp-19, 0x1.a01a01a019eaap-13), m_fma(z, 0x1.1111111111111p-7, 0x1.5555555555555p-3))),
        a) : e - 0.25 / e;
    return m_copysign(y, x);
}

M_FUNCTION double m_cosh(double x)
{
    double e = m_exp_of(m_abs(x), 0.0, -1.0);
    return e + 0.25 / e;
}

/* tanh(z) = z + z^3 R/C, z = |x| - k ln(2)/2, with k = 0 up to 0.7 (2^-57); with S = C + z^2 R,
 * e^2z = (C + z S)/(C - z S) and tanh |x| = 1 - 2 (C - z S)/(2^k (C + z S) + (C - z S)): one division serves both.
 */
M_FUNCTION double m_tanh(double x)
{
    double a = m_abs(x);
    a = 20.0 < a ? 20.0 : a;
    int small = a < 0.7;
    double t = small ? M_ROUND : m_fma(a, 0x1.71547652b82fep+1, M_ROUND);
    double k = t - M_ROUND;
    double z1 = m_fma(-k, 0x1.abc9e3b39803fp-57, m_fma(-k, 0x1.62e42fefa39efp-2, a));
    double z = z1 * z1, z2 = z * z;
    double p = z * m_fma(z2, m_fma(z, -0x1.2b70a6a241cd5p-26, -0x1.ff1dbfefb6b22p-13), m_fma(z,
        -0x1.5eec4c5abc2c7p-6, -0x1.5555555555555p-2));
    double c = m_fma(z2, m_fma(z, 0x1.0b27c35d29d2bp-12, 0x1.91e11acd4af75p-6), m_fma(z, 0x1.db65e7ea9ce1fp-2, 0x1p0));
    double s = p + c;
    double down = m_fma(-z1, s, c), up = m_fma(z1, s, c);
    double power = m_from((m_bits(t) << 52) + M_ONE);
    double top = small ? z1 * p : -2.0 * down;
    double bottom = small ? c : m_fma(power, up, down);
    return m_copysign((small ? a : 1.0) + top / bottom, x);
}

/* 1/(1 + e^-|x|), times e^-|x| = 2^k (1 + t) below 0; the errors of the sum and of the division are put back. */
M_FUNCTION double m_sigmoid(double x)
{
    double a = -m_abs(x);
    a = -800.0 > a ? -800.0 : a;
    double k = m_fma(a, 0x1.71547652b82fep+0, M_ROUND) - M_ROUND;
    double r0 = m_fma(-k, 0x1.62e42fefa39efp-1, a), p = k * 0x1.abc9e3b39803fp-56;
    double r = r0 - p, t = r + m_exp_rest(r, (r0 - r) - p);
    double h = m_fma(k, 0.5, M_ROUND) - M_ROUND;
    double first = m_power2(h), second = m_power2(k - h);
    double e = m_fma(t, first, first) * second;
    double d = 1.0 + e, g = 1.0 / d;
    double rest = m_fma(-((1.0 - d) + e), g, m_fma(-d, g, 1.0));
    double y = x < 0 ? g * first : g;
    return m_fma(y, x < 0 ? t + rest : rest, y) * (x < 0 ? second : 1.0);
}

M_FUNCTION float m_exp_restf(float r, float base)
{
    float r2 = r * r;
    return m_fmaf(r2 * r2, m_fmaf(r2, 0x1.6d1254p-10f, m_fmaf(r, 0x1.120cbap-7f, 0x1.555518p-5f)), m_fmaf(r2,
        m_fmaf(r, 0x1.5554dcp-3f, 0x1p-1f), base));
}

M_FUNCTION float m_scalef(float t, float k)
{
    float h = m_fmaf(k, 0.5f, M_ROUNDF);
    float first = m_fromf((m_bitsf(h) << 23) + M_ONEF);
    return m_fmaf(t, first, first) * m_power2f(k - (h - M_ROUNDF));
}

M_FUNCTION float m_exp_off(float x, float shift)
{
    float k = m_fmaf(x, 0x1.715476p+0f, M_ROUNDF) - M_ROUNDF;
    float r0 = m_fmaf(-k, 0x1.62e43p-1f, x), p = k * 0x1.05c61p-29f;
    float r = r0 + p;
    float y = m_scalef(r + m_exp_restf(r, (r0 - r) + p), k + shift);
    y = x > 120.0f ? (float)M_INFINITY : y;
    return x < -120.0f ? 0.0f : y;
}

M_FUNCTION float m_expf(float x)
{
    float k = m_fmaf(x, 0x1.715476p+0f, M_ROUNDF) - M_ROUNDF;
    float r = m_fmaf(k, 0x1.05c61p-29f, m_fmaf(-k, 0x1.62e43p-1f, x));
    float y = m_scalef(m_exp_restf(r, r), k);
    y = x > 120.0f ? (float)M_INFINITY : y;
    return x < -120.0f ? 0.0f : y;
}

M_FUNCTION float m_exp2f(float x)
{
    x = 160.0f < x ? 160.0f : x;
    x = -160.0f > x ? -160.0f : x;
    float k = (x + M_ROUNDF) - M_ROUNDF;
    float r = x - k, r2 = r * r, r4 = r2 * r2;
    return m_scalef(m_fmaf(r2, m_fmaf(r4, m_fmaf(r, 0x1.008ac8p-16f, 0x1.44149ap-13f), m_fmaf(r2, m_fmaf(r,
        0x1.5d87cp-10f, 0x1.3b2a52p-7f), m_fmaf(r, 0x1.c6b08ep-5f, 0x1.ebfbep-3f))), r * 0x1.62e43p-1f), k);
}

M_FUNCTION float m_expm1f(float x)
{
    float v = 120.0f < x ? 120.0f : x;
    v = -30.0f > v ? -30.0f : v;
    float k = m_fmaf(v, 0x1.715476p+0f, M_ROUNDF) - M_ROUNDF;
    float r0 = m_fmaf(-k, 0x1.62e43p-1f, v), p = k * 0x1.05c61p-29f;
    float r = r0 + p, e = m_exp_restf(r, (r0 - r) + p);
    float h = (m_fmaf(k, 0.5f, M_ROUNDF)) - M_ROUNDF;
    float first = m_power2f(h), back = m_power2f(h - k);
    return m_copysignf(m_fmaf(e, first, m_fmaf(r, first, first - back)) * m_power2f(k - h), x);
}

M_FUNCTION float m_sinhf(float x)
{
    float a = m_absf(x), z = a * a, z2 = z * z, z4 = z2 * z2;
    float e = m_exp_off(a, -1.0f);
    float y = a < 1.25f ? m_fmaf(a * z, m_fmaf(z4, 0x1.b94d0ep-26f, m_fmaf(z2, m_fmaf(z, 0x1.71c048p-19f,
        0x1.a01a44p-13f), m_fmaf(z, 0x1.11111p-7f, 0x1.555556p-3f))), a) : e - 0.25f / e;
    return m_copysignf(y, x);
}

M_FUNCTION float m_coshf(float x)
{
    float e = m_exp_off(m_absf(x), -1.0f);
    return e + 0.25f / e;
}

M_FUNCTION float m_tanhf(float x)
{
    float a = m_absf(x);
    a = 10.0f < a ? 10.0f : a;
    int small = a < 0.6f;
    float t = small ? M_ROUNDF : m_fmaf(a, 0x1.715476p+1f, M_ROUNDF);
    float k = t - M_ROUNDF;
    float z1 = m_fmaf(k, 0x1.05c61p-30f, m_fmaf(-k, 0x1.62e43p-2f, a));
    float z = z1 * z1;
    float p = z * m_fmaf(z, -0x1.9752acp-10f, -0x1.555552p-2f);
    float c = m_fmaf(z, 0x1.9e5e24p-2f, 0x1p0f);
    float s = p + c;
    float down = m_fmaf(-z1, s, c), up = m_fmaf(z1, s, c);
    float power = m_fromf((m_bitsf(t) << 23) + M_ONEF);
    float top = small ? z1 * p : -2.0f * down;
    float bottom = small ? c : m_fmaf(power, up, down);
    return m_copysignf((small ? a : 1.0f) + top / bottom, x);
}

M_FUNCTION float m_sigmoidf(float x)
{
    float a = -m_absf(x);
    a = -120.0f > a ? -120.0f : a;
    float k = m_fmaf(a, 0x1.715476p+0f, M_ROUNDF) - M_ROUNDF;
    float r0 = m_fmaf(-k, 0x1.62e43p-1f, a), p = k * 0x1.05c61p-29f;
    float r = r0 + p, t = r + m_exp_restf(r, (r0 - r) + p);
    float h = m_fmaf(k, 0.5f, M_ROUNDF) - M_ROUNDF;
    float first = m_power2f(h), second = m_power2f(k - h);
    float e = m_fmaf(t, first, first) * second;
    float d = 1.0f + e, g = 1.0f / d;
    float rest = m_fmaf(-((1.0f - d) + e), g, m_fmaf(-d, g, 1.0f));
    float y = x < 0 ? g * first : g;
    return m_fmaf(y, x < 0 ? t + rest : rest, y) * (x < 0 ? second : 1.0f);
}

/* Logarithms. x = 2^k m, sqrt(1/2) <= m < sqrt(2), f = m - 1, s = f/(2 + f):
 * log(1 + f) = f - (f^2/2 - s (f^2/2 + z L(z))), z = s^2 (2^-57), the arrangement of Sun's fdlibm.
 */
M_FUNCTION void m_split(double x, double *k, double *m)
{
    int tiny = x < 0x1p-1022;
    uint64_t b = m_bits(tiny ? x * 0x1p54 : x) + (M_ONE - 0x3fe6a09e667f3bcdu);
    *k = m_from((b >> 52) | 0x4330000000000000u) - (tiny ? 0x1p52 + 1077.0 : 0x1p52 + 1023.0);
    *m = m_from((b & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
}

/* f - log(1 + f). */
M_FUNCTION double m_log_rest(double f)
{
    double h = 0.5 * f * f, s = f / (2.0 + f);
    double z = s * s, z2 = z * z, z4 = z2 * z2;
    return h - s * m_fma(z, m_fma(z4, m_fma(z2, 0x1.2b5b5fb2eac92p-3, m_fma(z, 0x1.39fe208c33457p-3,
        0x1.7462b69705382p-3)), m_fma(z2, m_fma(z, 0x1.c71c62debf86bp-3, 0x1.2492492df6947p-2), m_fma(z,
        0x1.99999999952b2p-2, 0x1.5555555555558p-1))), h);
}

/* The value y of a logarithm at x > 0, or what x demands. */
M_FUNCTION double m_log_ends(double x, double y)
{
    double end = x == 0 ? -M_INFINITY : (x < 0 ? M_NAN : x);
    return x > 0 && x < M_INFINITY ? y : end;
}

M_FUNCTION double m_log(double x)
{
    double k, m;
    m_split(x, &k, &m);
    double f = m - 1.0, h = 0.5 * f * f, s = f / (2.0 + f);
    double z = s * s, z2 = z * z, z4 = z2 * z2;
    double u = m_fma(s, m_fma(z, m_fma(z4, m_fma(z2, 0x1.2b5b5fb2eac92p-3, m_fma(z, 0x1.39fe208c33457p-3,
        0x1.7462b69705382p-3)), m_fma(z2, m_fma(z, 0x1.c71c62debf86bp-3, 0x1.2492492df6947p-2), m_fma(z,
        0x1.99999999952b2p-2, 0x1.5555555555558p-1))), h), k * 0x1.ef35793c76730p-45);
    return m_log_ends(x, m_fma(k, 0x1.62e42fefa3800p-1, f - (h - u)));
}

/* log(m) / log(base) + k log(2) / log(base) from each constant in two parts. */
M_FUNCTION double m_log_base(double x, double high, double low, double step, double rest)
{
    double k, m;
    m_split(x, &k, &m);
    double f = m - 1.0, c = m_log_rest(f);
    double l = f - c, e = (f - l) - c;
    double p = l * high, q = m_fma(l, high, -p) + m_fma(e, high, m_fma(l, low, k * rest));
    double a = k * step, y = a + p;
    return m_log_ends(x, y + (((a - y) + p) + q));
}

M_FUNCTION double m_log2(double x)
{
    return m_log_base(x, 0x1.71547652b82fep+0, 0x1.777d0ffda0d24p-56, 1.0, 0.0);
}

M_FUNCTION double m_log10(double x)
{
    return m_log_base(x, 0x1.bcb7b1526e50ep-2, 0x1.95355baaafad3p-57, 0x1.34413509f7000p-2, 0x1.3fde623e2566bp-43);
}

/* log(1 + x + low), low far below x, from u = 1 + x rounded; the rounding error is put back into f. */
M_FUNCTION double m_log1p_of(double x, double low)
{
    double u = 1.0 + x, k, m;
    m_split(u, &k, &m);
    double lost = ((x - (u - 1.0)) + low) * m_power2(k > 1000.0 ? -1000.0 : -k);
    double f = (m - 1.0) + lost, h = 0.5 * f * f, s = f / (2.0 + f);
    double z = s * s, z2 = z * z, z4 = z2 * z2;
    double v = m_fma(s, m_fma(z, m_fma(z4, m_fma(z2, 0x1.2b5b5fb2eac92p-3, m_fma(z, 0x1.39fe208c33457p-3,
        0x1.7462b69705382p-3)), m_fma(z2, m_fma(z, 0x1.c71c62debf86bp-3, 0x1.2492492df6947p-2), m_fma(z,
        0x1.99999999952b2p-2, 0x1.5555555555558p-1))), h), k * 0x1.ef35793c76730p-45);
    return m_copysign(m_log_ends(u, m_fma(k, 0x1.62e42fefa3800p-1, f - (h - v))), x);
}

M_FUNCTION double m_log1p(double x) { return m_log1p_of(x, 0); }

M_FUNCTION double m_asinh(double x)
{
    double a = m_abs(x), z = a * a;
    int large = a > 0x1p28;
    double e = z / (1.0 + m_sqrt(1.0 + z)), u = a + e;
    double y = m_log1p_of(large ? a : u, large ? 0 : (a - u) + e);
    return m_copysign(large ? y + 0x1.62e42fefa39efp-1 : y, x);
}

M_FUNCTION double m_acosh(double x)
{
    double t = x - 1.0;
    int large = x > 0x1p28;
    double q = m_fma(t, t, 2.0 * t), s = m_sqrt(q), u = s + t;
    double e = 0.5 * (m_fma(-s, s, q) + m_fma(t, t, 2.0 * t - q)) / (s + 0x1p-900);
    double y = m_log1p_of(large ? x : u, large ? 0 : ((s - u) + t) + e);
    return x < 1.0 ? M_NAN : (large ? y + 0x1.62e42fefa39efp-1 : y);
}

M_FUNCTION double m_atanh(double x)
{
    double a = m_abs(x), d = 2.0 * a;
    double e = (a < 0.5 ? d * a : d) / (1.0 - a), u = a < 0.5 ? d + e : e;
    return m_copysign(0.5 * m_log1p_of(u, a < 0.5 ? (d - u) + e : 0), x);
}

/* log |x| in two doubles (about 68 bits): s = f/(m + 1) and the term 2 s^3/3 in two doubles, the rest (2^-66) in one.
 * Then e^(y log |x|). The largest finite results carry the error of y log |x| times 2^10: below 1 ulp.
 */
M_FUNCTION double m_pow(double x, double y)
{
    double a = m_abs(x), k, m;
    m_split(a, &k, &m);
    double f = m - 1.0, d = m + 1.0, dl = m - (d - 1.0), g = 1.0 / d;
    double s = f * g, sl = g * (m_fma(-s, d, f) - s * dl);
    double z = s * s, zl = m_fma(s, s, -z) + 2.0 * s * sl, z2 = z * z, z4 = z2 * z2;
    double q = z * m_fma(z4, m_fma(z2, m_fma(z, 0x1.e032e4d8436a1p-4, 0x1.df7c5bc7c7563p-4), m_fma(z,
        0x1.1118c9ee5b8a4p-3, 0x1.3b1395c88122p-3)), m_fma(z2, m_fma(z, 0x1.745d177aad02ap-3,
        0x1.c71c71c6ea871p-3), m_fma(z, 0x1.2492492492522p-2, 0x1.999999999999ap-2)));
    double t = 0x1.5555555555555p-1 + q, tl = ((0x1.5555555555555p-1 - t) + q) + 0x1.5555555555555p-55;
    double u = z * t, ul = m_fma(z, t, -u) + m_fma(z, tl, zl * t);
    double v = s * u, vl = m_fma(s, u, -v) + m_fma(s, ul, sl * u);
    double c = k * 0x1.62e42fefa3800p-1, b = c + 2.0 * s, bl = (c - b) + 2.0 * s;
    double h = b + v, hl = ((b - h) + v) + (bl + (m_fma(2.0, sl, vl) + k * 0x1.ef35793c76730p-45));
    double l = h + hl, ll = (h - l) + hl;
    l = a == 0 ? -M_INFINITY : (a < M_INFINITY ? l : a);
    double w = 0x1p64 < y ? 0x1p64 : y;
    w = -0x1p64 > w ? -0x1p64 : w;
    double p = w * l, e = m_fma(w, l, -p) + w * ll;
    double r = m_exp_of(p, m_abs(p) < 800.0 ? e : 0.0, 0.0);
    int whole = m_floor(y) == y, odd = whole && m_floor(0.5 * y) != 0.5 * y;
    r = x < 0 && a < M_INFINITY && !whole ? M_NAN : r;
    r = odd ? m_copysign(r, x) : r;
    return y == 0 || x == 1.0 ? 1.0 : r;
}

M_FUNCTION void m_splitf(float x, float *k, float *m)
{
    int tiny = x < 0x1p-126f;
    uint32_t b = m_bitsf(tiny ? x * 0x1p25f : x) + (M_ONEF - 0x3f3504f3u);
    *k = m_fromf((b >> 23) | 0x4b000000u) - (tiny ? 0x1p23f + 152.0f : 0x1p23f + 127.0f);
    *m = m_fromf((b & 0x007fffffu) + 0x3f3504f3u);
}

M_FUNCTION float m_log_restf(float f)
{
    float h = 0.5f * f * f, s = f / (2.0f + f);
    float z = s * s, z2 = z * z;
    return h - s * m_fmaf(z, m_fmaf(z2, 0x1.2ee73ep-2f, m_fmaf(z, 0x1.997c2ap-2f, 0x1.55555cp-1f)), h);
}

M_FUNCTION float m_log_endsf(float x, float y)
{
    float inf = (float)M_INFINITY, end = x == 0 ? -inf : (x < 0 ? (float)M_NAN : x);
    return x > 0 && x < inf ? y : end;
}

M_FUNCTION float m_logf(float x)
{
    float k, m;
    m_splitf(x, &k, &m);
    float f = m - 1.0f, h = 0.5f * f * f, s = f / (2.0f + f);
    float z = s * s, z2 = z * z;
    float u = m_fmaf(s, m_fmaf(z, m_fmaf(z2, 0x1.2ee73ep-2f, m_fmaf(z, 0x1.997c2ap-2f, 0x1.55555cp-1f)), h), k *
        0x1.0bfbe8p-15f);
    return m_log_endsf(x, m_fmaf(k, 0x1.62ep-1f, f - (h - u)));
}

M_FUNCTION float m_log_basef(float x, float high, float low, float step, float rest)
{
    float k, m;
    m_splitf(x, &k, &m);
    float f = m - 1.0f, c = m_log_restf(f);
    float l = f - c, e = (f - l) - c;
    float p = l * high, q = m_fmaf(l, high, -p) + m_fmaf(e, high, m_fmaf(l, low, k * rest));
    float a = k * step, y = a + p;
    return m_log_endsf(x, y + (((a - y) + p) + q));
}

M_FUNCTION float m_log2f(float x) { return m_log_basef(x, 0x1.715476p+0f, 0x1.4ae0cp-26f, 1.0f, 0.0f); }

M_FUNCTION float m_log10f(float x)
{
    return m_log_basef(x, 0x1.bcb7b2p-2f, -0x1.5b235ep-27f, 0x1.344p-2f, 0x1.3509f8p-18f);
}

M_FUNCTION float m_log1p_off(float x, float low)
{
    float u = 1.0f + x, k, m;
    m_splitf(u, &k, &m);
    float lost = ((x - (u - 1.0f)) + low) * m_power2f(k > 100.0f ? -100.0f : -k);
    float f = (m - 1.0f) + lost, h = 0.5f * f * f, s = f / (2.0f + f);
    float z = s * s, z2 = z * z;
    float v = m_fmaf(s, m_fmaf(z, m_fmaf(z2, 0x1.2ee73ep-2f, m_fmaf(z, 0x1.997c2ap-2f, 0x1.55555cp-1f)), h), k *
        0x1.0bfbe8p-15f);
    return m_copysignf(m_log_endsf(u, m_fmaf(k, 0x1.62ep-1f, f - (h - v))), x);
}

M_FUNCTION float m_log1pf(float x) { return m_log1p_off(x, 0); }

M_FUNCTION float m_asinhf(float x)
{
    float a = m_absf(x), z = a * a;
    int large = a > 0x1p14f;
    float e = z / (1.0f + m_sqrtf(1.0f + z)), u = a + e;
    float y = m_log1p_off(large ? a : u, large ? 0 : (a - u) + e);
    return m_copysignf(large ? y + 0x1.62e43p-1f : y, x);
}

M_FUNCTION float m_acoshf(float x)
{
    float t = x - 1.0f;
    int large = x > 0x1p14f;
    float q = m_fmaf(t, t, 2.0f * t), s = m_sqrtf(q), u = s + t;
    float e = 0.5f * (m_fmaf(-s, s, q) + m_fmaf(t, t, 2.0f * t - q)) / (s + 0x1p-90f);
    float y = m_log1p_off(large ? x : u, large ? 0 : ((s - u) + t) + e);
    return x < 1.0f ? (float)M_NAN : (large ? y + 0x1.62e43p-1f : y);
}

M_FUNCTION float m_atanhf(float x)
{
    float a = m_absf(x), d = 2.0f * a;
    float e = (a < 0.5f ? d * a : d) / (1.0f - a), u = a < 0.5f ? d + e : e;
    return m_copysignf(0.5f * m_log1p_off(u, a < 0.5f ? (d - u) + e : 0), x);
}

/* In double, whose single logarithm is exact enough. */
M_FUNCTION float m_powf(float x, float y)
{
    double a = m_absf(x), w = y;
    w = 0x1p64 < w ? 0x1p64 : w;
    w = -0x1p64 > w ? -0x1p64 : w;
    float r = (float)m_exp(w * m_log(a));
    int whole = m_floorf(y) == y, odd = whole && m_floorf(0.5f * y) != 0.5f * y;
    r = x < 0 && a < M_INFINITY && !whole ? (float)M_NAN : r;
    r = odd ? m_copysignf(r, x) : r;
    return y == 0 || x == 1.0f ? 1.0f : r;
}

/* erf: x + x G(x^2) below 1 (2^-55); else 1 - e^(-x^2) W(t), t = (x - 2)/(x + 2) (2^-56 of 1); 1 from 6 on. */
M_FUNCTION double m_erf(double x)
{
    double a = m_abs(x);
    a = 6.0 < a ? 6.0 : a;
    double z = a * a, z2 = z * z, z4 = z2 * z2, z8 = z4 * z4;
    double near = m_fma(a, m_fma(z8, m_fma(z4, 0x1.05ffd737fb32ep-34, m_fma(z2, m_fma(z, -0x1.389d4f2641625p-30,
        0x1.f7b4bf3b13964p-27), m_fma(z, -0x1.5f1ecb6f0764cp-23, 0x1.b9df224ca4b97p-20))), m_fma(z4, m_fma(z2,
        m_fma(z, -0x1.f4d1e3183f7aep-17, 0x1.f9a321d5b8e1ep-14), m_fma(z, -0x1.c02db3dac435fp-11,
        0x1.565bcd0dbaa38p-8)), m_fma(z2, m_fma(z, -0x1.b82ce31284ep-6, 0x1.ce2f21a042b3p-4), m_fma(z,
        -0x1.812746b0379e6p-2, 0x1.06eba8214db69p-3)))), a);
    double t = (a - 2.0) / (a + 2.0), t2 = t * t, t4 = t2 * t2, t8 = t4 * t4;
    double far = m_fma(-m_exp(-z), m_fma(t8, m_fma(t4, m_fma(t2, 0x1.06d7d0cc57b9fp-18, m_fma(t,
        0x1.e9238a9ec48f3p-20, -0x1.d81863c5d5a0cp-17)), m_fma(t2, m_fma(t, -0x1.cfd7aa8ea695dp-16,
        0x1.ce1b2f82f6e68p-16), m_fma(t, 0x1.6dac794694a3bp-13, 0x1.6d5bd4736ac6ap-15))), m_fma(t4, m_fma(t2,
        m_fma(t, -0x1.016b6191aff21p-10, -0x1.bc25a295f5d0ap-11), m_fma(t, 0x1.ca95ed5b73423p-8,
        0x1.e9471595b81d5p-9)), m_fma(t2, m_fma(t, -0x1.437f0b68c27fep-4, 0x1.eeea7dc8a792dp-3), m_fma(t,
        -0x1.b57034efd3f6bp-2, 0x1.058671b52c776p-2)))), 1.0);
    return m_copysign(a < 1.0 ? near : far, x);
}

M_FUNCTION float m_erff(float x)
{
    float a = m_absf(x);
    a = 4.0f < a ? 4.0f : a;
    float z = a * a, z2 = z * z, z4 = z2 * z2;
    float near = m_fmaf(a, m_fmaf(z4, m_fmaf(z2, 0x1.4a569p-14f, m_fmaf(z, -0x1.a45088p-11f, 0x1.54127p-8f)),
        m_fmaf(z2, m_fmaf(z, -0x1.b7fabap-6f, 0x1.ce2d1p-4f), m_fmaf(z, -0x1.81273ep-2f, 0x1.06eba8p-3f))), a);
    float t = (a - 2.0f) / (a + 2.0f), t2 = t * t, t4 = t2 * t2;
    float far = m_fmaf(-m_expf(-z), m_fmaf(t4, m_fmaf(t2, -0x1.c238fp-11f, m_fmaf(t, 0x1.bdd656p-8f,
        0x1.e99b82p-9f)), m_fmaf(t2, m_fmaf(t, -0x1.43734ap-4f, 0x1.eeea7p-3f), m_fmaf(t, -0x1.b5704p-2f,
        0x1.058672p-2f))), 1.0f);
    return m_copysignf(a < 1.0f ? near : far, x);
}

/* sqrt(x^2 + y^2), scaled by a power of two where squares would leave the range. */
M_FUNCTION double m_hypot(double x, double y)
{
    double a = m_abs(x), b = m_abs(y), top = a > b ? a : b;
    double scale = top > 0x1p500 ? 0x1p-600 : (top < 0x1p-450 ? 0x1p600 : 1.0);
    double back = top > 0x1p500 ? 0x1p600 : (top < 0x1p-450 ? 0x1p-600 : 1.0);
    double h = m_sqrt(m_fma(a * scale, a * scale, (b * scale) * (b * scale))) * back;
    return a == M_INFINITY || b == M_INFINITY ? M_INFINITY : h;
}

M_FUNCTION float m_hypotf(float x, float y)
{
    float a = m_absf(x), b = m_absf(y), top = a > b ? a : b, inf = (float)M_INFINITY;
    float scale = top > 0x1p60f ? 0x1p-80f : (top < 0x1p-50f ? 0x1p80f : 1.0f);
    float back = top > 0x1p60f ? 0x1p80f : (top < 0x1p-50f ? 0x1p-80f : 1.0f);
    float h = m_sqrtf(m_fmaf(a * scale, a * scale, (b * scale) * (b * scale))) * back;
    return a == inf || b == inf ? inf : h;
}

/* fmod is exact while |a/b| < 2^53 (2^24 in float): the truncated quotient is right or one too large, and the fused
 * remainder is exact. Beyond, it is 0 with the sign of a. remainder and floor_div are torch's, built on fmod.
 */
M_FUNCTION double m_fmod(double a, double b)
{
    double u = m_abs(a), v = m_abs(b), q = m_trunc(u / v);
    double r = m_fma(-q, v, u);
    r = r < 0 ? r + v : r;
    r = q < 0x1p53 ? r : (v > 0 ? u - u : M_NAN);
    r = u < v ? u : r;
    return m_copysign(b != b ? b : r, a);
}

M_FUNCTION double m_remainder(double a, double b)
{
    double r = m_fmod(a, b);
    return r != 0 && (b < 0) != (r < 0) ? r + b : r;
}

M_FUNCTION double m_floor_div(double a, double b)
{
    double r = m_fmod(a, b), q = (a - r) / b;
    q = r != 0 && (b < 0) != (r < 0) ? q - 1.0 : q;
    double f = m_floor(q);
    f = q - f > 0.5 ? f + 1.0 : f;
    f = q != 0 ? f : m_copysign(0.0, a / b);
    return b == 0 ? a / b : f;
}

M_FUNCTION float m_fmodf(float a, float b)
{
    float u = m_absf(a), v = m_absf(b), q = m_truncf(u / v);
    float r = m_fmaf(-q, v, u);
    r = r < 0 ? r + v : r;
    r = q < 0x1p24f ? r : (v > 0 ? u - u : (float)M_NAN);
    r = u < v ? u : r;
    return m_copysignf(b != b ? b : r, a);
}

M_FUNCTION float m_remainderf(float a, float b)
{
    float r = m_fmodf(a, b);
    return r != 0 && (b < 0) != (r < 0) ? r + b : r;
}

M_FUNCTION float m_floor_divf(float a, float b)
{
    float r = m_fmodf(a, b), q = (a - r) / b;
    q = r != 0 && (b < 0) != (r < 0) ? q - 1.0f : q;
    float f = m_floorf(q);
    f = q - f > 0.5f ? f + 1.0f : f;
    f = q != 0 ? f : m_copysignf(0.0f, a / b);
    return b == 0 ? a / b : f;
}

#endif
