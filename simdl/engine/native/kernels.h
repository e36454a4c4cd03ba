/* What generated programs use besides mathematics.h: loops over lanes, whole numbers, matrices, linear systems, noise.

W is the number of lanes in a vector, defined by the program. Arrays are [element][lane]. Sums run over k from the
first to the last with a fused multiply-add, whatever W is, so that a lane's result does not depend on it. */

#include <stdint.h>
#include <string.h>

#if W == 1
#define LANES for (int l = 0; l < 1; l++)
#define ELEMENTS(n) _Pragma("omp simd") for (int e = 0; e < (n); e++)
#else
#define LANES _Pragma("omp simd") for (int l = 0; l < W; l++)
#define ELEMENTS(n) for (int e = 0; e < (n); e++)
#endif

static inline _Bool m_isnan(double x) { return x != x; }
static inline _Bool m_isnanf(float x) { return x != x; }
static inline _Bool m_isinf(double x) { return __builtin_fabs(x) == __builtin_inf(); }
static inline _Bool m_isinff(float x) { return __builtin_fabsf(x) == __builtin_inff(); }
static inline _Bool m_isfinite(double x) { return __builtin_fabs(x) < __builtin_inf(); }
static inline _Bool m_isfinitef(float x) { return __builtin_fabsf(x) < __builtin_inff(); }

static inline int64_t i_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t i_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t i_abs(int64_t a) { return a < 0 ? -a : a; }
static inline int64_t i_sign(int64_t a) { return (a > 0) - (a < 0); }
static inline int64_t i_div(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? -a : a / b; }
static inline int64_t i_fmod(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
static inline int64_t i_floor_div(int64_t a, int64_t b)
{
    const int64_t q = i_div(a, b);
    return q - (i_fmod(a, b) != 0 && (a < 0) != (b < 0));
}
static inline int64_t i_remainder(int64_t a, int64_t b)
{
    const int64_t r = i_fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static inline int64_t i_shl(int64_t a, int64_t n) { return n < 0 || n > 63 ? 0 : (int64_t)((uint64_t)a << n); }
static inline int64_t i_shr(int64_t a, int64_t n) { return n < 0 || n > 63 ? (a < 0 ? -1 : 0) : a >> n; }
/* A float as a whole number; what does not fit, and NaN, is the least one, as torch has it on x86. */
static inline int64_t i_whole(double x)
{
    const _Bool fits = x >= -0x1p63 && x < 0x1p63;
    return fits ? (int64_t)(fits ? x : 0.0) : INT64_MIN;
}
/* A double as a float. In straight code of one lane GCC 12 makes vectors of conversions and then takes (double)(float)x
for x; a value that it cannot see through is rounded. */
#if W == 1 && defined(__x86_64__)
static inline float k_narrow(double x)
{
    float y = (float)x;
    __asm__("" : "+x"(y));
    return y;
}
#else
#define k_narrow(x) ((float)(x))
#endif
/* An index from the front or the back, kept inside. */
static inline int64_t i_row(int64_t i, int64_t n)
{
    i = i < 0 ? i + n : i;
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* -- matrices: out (m, n) = a (m, k) w (k, n), the weights shared by all lanes, rows of `padded` columns ------------- */

/* Vectors by the compiler's own types and builtins: <immintrin.h> takes longer to read than a model to compile. */
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define BYTES 32
#else
#define BYTES 8
#endif
#if BYTES > 8
typedef double v_f8 __attribute__((vector_size(BYTES)));
typedef float v_f4 __attribute__((vector_size(BYTES)));
typedef double u_f8 __attribute__((vector_size(BYTES), aligned(8), may_alias));
typedef float u_f4 __attribute__((vector_size(BYTES), aligned(4), may_alias));
#define N_f8 (BYTES / 8)
#define N_f4 (BYTES / 4)
#define V_LOAD_f8(p) ((v_f8)*(const u_f8 *)(p))
#define V_LOAD_f4(p) ((v_f4)*(const u_f4 *)(p))
#define V_STORE_f8(p, x) (*(u_f8 *)(p) = (x))
#define V_STORE_f4(p, x) (*(u_f4 *)(p) = (x))
#if BYTES == 64
#define V_SET_f8(x) ((v_f8){(x), (x), (x), (x), (x), (x), (x), (x)})
#define V_SET_f4(x) ((v_f4){(x), (x), (x), (x), (x), (x), (x), (x), (x), (x), (x), (x), (x), (x), (x), (x)})
#else
#define V_SET_f8(x) ((v_f8){(x), (x), (x), (x)})
#define V_SET_f4(x) ((v_f4){(x), (x), (x), (x), (x), (x), (x), (x)})
#endif
#if defined(__clang__)
#define V_FMA_f8 __builtin_elementwise_fma
#define V_FMA_f4 __builtin_elementwise_fma
#elif BYTES == 64
#define V_FMA_f8(a, b, c) __builtin_ia32_vfmaddpd512_mask(a, b, c, (unsigned char)-1, 4)
#define V_FMA_f4(a, b, c) __builtin_ia32_vfmaddps512_mask(a, b, c, (unsigned short)-1, 4)
#else
#define V_FMA_f8 __builtin_ia32_vfmaddpd256
#define V_FMA_f4 __builtin_ia32_vfmaddps256
#endif
#else
typedef double v_f8;
typedef float v_f4;
#define N_f8 1
#define N_f4 1
#define V_FMA_f8 __builtin_fma
#define V_FMA_f4 __builtin_fmaf
#define V_SET_f8(x) (x)
#define V_SET_f4(x) (x)
#define V_LOAD_f8(p) (*(p))
#define V_LOAD_f4(p) (*(p))
#define V_STORE_f8(p, x) (*(p) = (x))
#define V_STORE_f4(p, x) (*(p) = (x))
#endif

/* One vector across columns (one lane), or across lanes: COLUMNS of the one, or of W lanes in W / N vectors. */
#define WEIGHTS(NAME, T, S) \
__attribute__((noinline, unused)) static void NAME(T (*restrict out)[W], const T (*restrict a)[W], \
                                                   const T *restrict w, int m, int k, int n, int padded) \
{ \
    if (W == 1) { \
        for (int i = 0; i < m; i++) { \
            const T *x = &a[i * k][0]; \
            int j = 0; \
            for (; j + 8 * N_##S <= padded && j < n; j += 8 * N_##S) { \
                v_##S s0 = V_SET_##S(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0; \
                const T *p = w + j; \
                for (int q = 0; q < k; q++, p += padded) { \
                    const v_##S y = V_SET_##S(x[q]); \
                    s0 = V_FMA_##S(y, V_LOAD_##S(p), s0); s1 = V_FMA_##S(y, V_LOAD_##S(p + N_##S), s1); \
                    s2 = V_FMA_##S(y, V_LOAD_##S(p + 2 * N_##S), s2); s3 = V_FMA_##S(y, V_LOAD_##S(p + 3 * N_##S), s3); \
                    s4 = V_FMA_##S(y, V_LOAD_##S(p + 4 * N_##S), s4); s5 = V_FMA_##S(y, V_LOAD_##S(p + 5 * N_##S), s5); \
                    s6 = V_FMA_##S(y, V_LOAD_##S(p + 6 * N_##S), s6); s7 = V_FMA_##S(y, V_LOAD_##S(p + 7 * N_##S), s7); \
                } \
                T r[8 * N_##S]; \
                V_STORE_##S(r, s0); V_STORE_##S(r + N_##S, s1); V_STORE_##S(r + 2 * N_##S, s2); \
                V_STORE_##S(r + 3 * N_##S, s3); V_STORE_##S(r + 4 * N_##S, s4); V_STORE_##S(r + 5 * N_##S, s5); \
                V_STORE_##S(r + 6 * N_##S, s6); V_STORE_##S(r + 7 * N_##S, s7); \
                memcpy(&out[i * n + j][0], r, sizeof(T) * (size_t)(n - j < 8 * N_##S ? n - j : 8 * N_##S)); \
            } \
            for (; j < n; j += N_##S) { \
                v_##S s = V_SET_##S(0); \
                const T *p = w + j; \
                for (int q = 0; q < k; q++, p += padded) s = V_FMA_##S(V_SET_##S(x[q]), V_LOAD_##S(p), s); \
                T r[N_##S]; \
                V_STORE_##S(r, s); \
                memcpy(&out[i * n + j][0], r, sizeof(T) * (size_t)(n - j < N_##S ? n - j : N_##S)); \
            } \
        } \
    } else if (W % N_##S == 0) { \
        for (int i = 0; i < m; i++) for (int v = 0; v < W; v += N_##S) { \
            int j = 0; \
            for (; j + 8 <= n; j += 8) { \
                v_##S s0 = V_SET_##S(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0; \
                for (int q = 0; q < k; q++) { \
                    const v_##S y = V_LOAD_##S(&a[i * k + q][v]); \
                    const T *p = w + (size_t)q * (size_t)padded + j; \
                    s0 = V_FMA_##S(y, V_SET_##S(p[0]), s0); s1 = V_FMA_##S(y, V_SET_##S(p[1]), s1); \
                    s2 = V_FMA_##S(y, V_SET_##S(p[2]), s2); s3 = V_FMA_##S(y, V_SET_##S(p[3]), s3); \
                    s4 = V_FMA_##S(y, V_SET_##S(p[4]), s4); s5 = V_FMA_##S(y, V_SET_##S(p[5]), s5); \
                    s6 = V_FMA_##S(y, V_SET_##S(p[6]), s6); s7 = V_FMA_##S(y, V_SET_##S(p[7]), s7); \
                } \
                T *o = &out[i * n + j][v]; \
                V_STORE_##S(o, s0); V_STORE_##S(o + W, s1); V_STORE_##S(o + 2 * W, s2); V_STORE_##S(o + 3 * W, s3); \
                V_STORE_##S(o + 4 * W, s4); V_STORE_##S(o + 5 * W, s5); V_STORE_##S(o + 6 * W, s6); V_STORE_##S(o + 7 * W, s7); \
            } \
            for (; j < n; j++) { \
                v_##S s = V_SET_##S(0); \
                for (int q = 0; q < k; q++) s = V_FMA_##S(V_LOAD_##S(&a[i * k + q][v]), V_SET_##S(w[(size_t)q * (size_t)padded + j]), s); \
                V_STORE_##S(&out[i * n + j][v], s); \
            } \
        } \
    } else { \
        for (int i = 0; i < m; i++) for (int j = 0; j < n; j++) { \
            T s[W]; \
            for (int l = 0; l < W; l++) s[l] = 0; \
            for (int q = 0; q < k; q++) for (int l = 0; l < W; l++) s[l] = FMA_##S(a[i * k + q][l], w[(size_t)q * (size_t)padded + j], s[l]); \
            for (int l = 0; l < W; l++) out[i * n + j][l] = s[l]; \
        } \
    } \
}
#define FMA_f8 __builtin_fma
#define FMA_f4 __builtin_fmaf
#define FMA_i8(a, b, c) ((a) * (b) + (c))
WEIGHTS(k_weights, double, f8)
WEIGHTS(k_weightsf, float, f4)

/* out (m, n) = a (m, k) b (k, n), each lane with its own matrices. */
#define MATMUL(T, S) \
__attribute__((noinline, unused)) static void k_matmul_##S(T (*restrict out)[W], const T (*restrict a)[W], \
                                                           const T (*restrict b)[W], int m, int k, int n) \
{ \
    for (int i = 0; i < m; i++) for (int j = 0; j < n; j++) { \
        T s[W]; \
        LANES s[l] = 0; \
        for (int q = 0; q < k; q++) LANES s[l] = FMA_##S(a[i * k + q][l], b[q * n + j][l], s[l]); \
        LANES out[i * n + j][l] = s[l]; \
    } \
}
MATMUL(double, f8)
MATMUL(float, f4)
MATMUL(int64_t, i8)

/* x (n, m): a (n, n) x = b (n, m), by elimination with row pivoting, lane after lane. */
#define SOLVE(T, S, ABS) \
__attribute__((noinline, unused)) static void k_solve_##S(T (*restrict x)[W], const T (*restrict a)[W], \
                                                          const T (*restrict b)[W], int n, int m) \
{ \
    for (int l = 0; l < W; l++) { \
        T u[n * n]; \
        for (int i = 0; i < n * n; i++) u[i] = a[i][l]; \
        for (int i = 0; i < n * m; i++) x[i][l] = b[i][l]; \
        for (int p = 0; p < n; p++) { \
            int best = p; \
            for (int i = p + 1; i < n; i++) if (ABS(u[i * n + p]) > ABS(u[best * n + p])) best = i; \
            if (best != p) { \
                for (int j = 0; j < n; j++) { const T t = u[p * n + j]; u[p * n + j] = u[best * n + j]; u[best * n + j] = t; } \
                for (int j = 0; j < m; j++) { const T t = x[p * m + j][l]; x[p * m + j][l] = x[best * m + j][l]; x[best * m + j][l] = t; } \
            } \
            for (int i = p + 1; i < n; i++) { \
                const T f = u[i * n + p] / u[p * n + p]; \
                for (int j = p + 1; j < n; j++) u[i * n + j] = FMA_##S(-f, u[p * n + j], u[i * n + j]); \
                for (int j = 0; j < m; j++) x[i * m + j][l] = FMA_##S(-f, x[p * m + j][l], x[i * m + j][l]); \
            } \
        } \
        for (int i = n - 1; i >= 0; i--) for (int j = 0; j < m; j++) { \
            T s = x[i * m + j][l]; \
            for (int q = i + 1; q < n; q++) s = FMA_##S(-u[i * n + q], x[q * m + j][l], s); \
            x[i * m + j][l] = s / u[i * n + i]; \
        } \
    } \
}
SOLVE(double, f8, __builtin_fabs)
SOLVE(float, f4, __builtin_fabsf)

/* -- noise: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, SC'11) of (tick, lane, block), keyed by the stream ------------ */

static inline void k_philox(uint64_t key, uint64_t tick, uint64_t lane, uint64_t block, uint64_t *first, uint64_t *second)
{
    const uint64_t mask = 0xFFFFFFFFu;
    uint64_t c0 = tick & mask, c1 = tick >> 32, c2 = lane & mask, c3 = block, k0 = key & mask, k1 = key >> 32;
#pragma GCC unroll 10
    for (int turn = 0; turn < 10; turn++) {
        const uint64_t p0 = c0 * 0xD2511F53u, p1 = c2 * 0xCD9E8D57u;
        c0 = (p1 >> 32) ^ c1 ^ k0;
        c2 = (p0 >> 32) ^ c3 ^ k1;
        c1 = p1 & mask;
        c3 = p0 & mask;
        k0 = (k0 + 0x9E3779B9u) & mask;
        k1 = (k1 + 0xBB67AE85u) & mask;
    }
    *first = c0 << 32 | c1;
    *second = c2 << 32 | c3;
}
static inline double k_unit(uint64_t word) { return ((double)(int64_t)(word >> 12) + 0.5) * 0x1p-52; }

#define NOISE(T, S) \
__attribute__((noinline, unused)) static void k_uniform_##S(T (*restrict out)[W], uint64_t key, \
    const int64_t *restrict lane, const int64_t *restrict tick, int count) \
{ \
    for (int e = 0; e < count; e += 2) { \
        T one[W], two[W]; \
        LANES { \
            uint64_t a, b; \
            k_philox(key, (uint64_t)tick[l], (uint64_t)lane[l], (uint64_t)(e / 2), &a, &b); \
            one[l] = UNIT_##S(a); two[l] = UNIT_##S(b); \
        } \
        LANES out[e][l] = one[l]; \
        if (e + 1 < count) LANES out[e + 1][l] = two[l]; \
    } \
} \
__attribute__((noinline, unused)) static void k_normal_##S(T (*restrict out)[W], uint64_t key, \
    const int64_t *restrict lane, const int64_t *restrict tick, int count) \
{ \
    for (int e = 0; e < count; e += 2) { \
        T one[W], two[W]; \
        LANES { \
            uint64_t a, b; \
            double s, c; \
            k_philox(key, (uint64_t)tick[l], (uint64_t)lane[l], (uint64_t)(e / 2), &a, &b); \
            const double radius = __builtin_sqrt(m_log(k_unit(a)) * -2.0); \
            m_sincos(k_unit(b) * 0x1.921fb54442d18p+2, &s, &c); \
            one[l] = (T)(radius * c); two[l] = (T)(radius * s); \
        } \
        LANES out[e][l] = one[l]; \
        if (e + 1 < count) LANES out[e + 1][l] = two[l]; \
    } \
}
#define UNIT_f8 k_unit
#define UNIT_f4(w) (((float)(int32_t)((w) >> 41) + 0.5f) * 0x1p-23f)
NOISE(double, f8)
NOISE(float, f4)
