/* sums += a (m, depth) g (depth, n) over all lanes. Sums are kept in strips of 16 columns, row after row of a strip, so
that memory is walked through; a strip of g, for all lanes, is held in registers. The order of each sum is depth by
depth, lane by lane. */

#define STRIP 16
#define OUTER(NAME, T, S) \
__attribute__((noinline, unused)) static void NAME(T *restrict sums, const T (*restrict a)[W], const T (*restrict g)[W], \
                                                   int m, int depth, int n) \
{ \
    for (int j = 0; j < n; j += STRIP, sums += (size_t)m * STRIP) for (int q = 0; q < depth; q++) { \
        T r[W][STRIP] __attribute__((aligned(64))); \
        const int whole = n - j < STRIP ? n - j : STRIP; \
        if (whole < STRIP) memset(r, 0, sizeof r); \
        for (int x = 0; x < whole; x++) for (int l = 0; l < W; l++) r[l][x] = g[q * n + j + x][l]; \
        const _Bool both = N_##S < STRIP && W <= 8; \
        for (int v = 0; v < whole; v += both ? 2 * N_##S : N_##S) { \
            const int end = both ? v + N_##S : v; \
            v_##S one[W], two[W]; \
            for (int l = 0; l < W; l++) { \
                one[l] = V_LOAD_##S(&r[l][v]); \
                two[l] = V_LOAD_##S(&r[l][end]); \
            } \
            for (int i = 0; i < m; i++) { \
                T *place = sums + (size_t)i * STRIP; \
                const T *x = a[i * depth + q]; \
                v_##S s = V_LOAD_##S(place + v), t = V_LOAD_##S(place + end); \
                for (int l = 0; l < W; l++) { \
                    const v_##S y = V_SET_##S(x[l]); \
                    s = V_FMA_##S(y, one[l], s); \
                    if (both) t = V_FMA_##S(y, two[l], t); \
                } \
                V_STORE_##S(place + v, s); \
                if (both) V_STORE_##S(place + end, t); \
            } \
        } \
    } \
}
OUTER(k_outer, double, f8)
OUTER(k_outerf, float, f4)
