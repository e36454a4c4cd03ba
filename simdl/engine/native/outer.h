/* sums += a (m, depth) g (depth, n) over all lanes: rows of `padded` columns. Columns go in vectors, and the lanes of a
row of g are held in registers; the order of the sum is depth by depth, lane by lane. */

#define OUTER(NAME, T, N) \
typedef T NAME##_v __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)))); \
__attribute__((noinline, unused)) static void NAME(T *restrict sums, const T (*restrict a)[W], const T (*restrict g)[W], \
                                                   int m, int depth, int n, int padded) \
{ \
    for (int q = 0; q < depth; q++) for (int j = 0; j < n; j += N) { \
        T r[W][N] __attribute__((aligned(64))); \
        const int whole = n - j < N ? n - j : N; \
        if (whole < N) memset(r, 0, sizeof r); \
        for (int x = 0; x < whole; x++) for (int l = 0; l < W; l++) r[l][x] = g[q * n + j + x][l]; \
        NAME##_v row[W]; \
        for (int l = 0; l < W; l++) row[l] = *(const NAME##_v *)r[l]; \
        for (int i = 0; i < m; i++) { \
            NAME##_v *place = (NAME##_v *)(sums + (size_t)i * (size_t)padded + j); \
            NAME##_v sum = *place; \
            const T *x = a[i * depth + q]; \
            for (int l = 0; l < W; l++) sum += x[l] * row[l]; \
            *place = sum; \
        } \
    } \
}
#if defined(__AVX512F__)
OUTER(k_outer, double, 8)
OUTER(k_outerf, float, 16)
#elif defined(__AVX2__)
OUTER(k_outer, double, 4)
OUTER(k_outerf, float, 8)
#else
OUTER(k_outer, double, 2)
OUTER(k_outerf, float, 4)
#endif
