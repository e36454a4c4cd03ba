/* The same with lanes innermost: a block of LANES lanes fills one vector of 64 bytes, loops over `k` become vector
   instructions, and sin, cos and tanh those of libmvec (-ffast-math). Eight outputs of a layer share each load.
   Arrays are cut into blocks: noise and kept (blocks, ticks, 4, LANES), pole and half (blocks, LANES),
   final (blocks, 4, LANES), largest (blocks, LANES). */
#include <math.h>
#include <stddef.h>

#define HIDDEN 64
#define TILE 8
#define LANES ((int)(64 / sizeof(REAL)))
#define EACH for (int k = 0; k < LANES; k++)
#define IS_FLOAT (sizeof(REAL) == 4)

typedef REAL Vector __attribute__((vector_size(64)));
typedef struct { const REAL *w1, *b1, *w2, *b2, *w3, *b3; } Network;

static inline Vector vtanh(Vector x) {
    Vector y;
    if (IS_FLOAT) EACH y[k] = tanhf(x[k]);
    else EACH y[k] = tanh(x[k]);
    return y;
}

static inline Vector vsin(Vector x) {
    Vector y;
    if (IS_FLOAT) EACH y[k] = sinf(x[k]);
    else EACH y[k] = sin(x[k]);
    return y;
}

static inline Vector vcos(Vector x) {
    Vector y;
    if (IS_FLOAT) EACH y[k] = cosf(x[k]);
    else EACH y[k] = cos(x[k]);
    return y;
}

static inline void layer(int inputs, const REAL *w, const REAL *b, const Vector *x, Vector *y) {
    for (int i = 0; i < HIDDEN; i += TILE) {
        Vector sum[TILE];
        for (int r = 0; r < TILE; r++) sum[r] = (Vector){0} + b[i + r];
        for (int j = 0; j < inputs; j++)
            for (int r = 0; r < TILE; r++) sum[r] += w[j * HIDDEN + i + r] * x[j];
        for (int r = 0; r < TILE; r++) y[i + r] = vtanh(sum[r]);
    }
}

static Vector force(const Network *net, const Vector s[4]) {
    Vector a[HIDDEN], b[HIDDEN], out = (Vector){0} + net->b3[0];
    layer(4, net->w1, net->b1, s, a);
    layer(HIDDEN, net->w2, net->b2, a, b);
    for (int i = 0; i < HIDDEN; i++) out += net->w3[i] * b[i];
    return 10 * vtanh(out);
}

static inline void motion(const Vector s[4], Vector u, Vector pole, Vector half, Vector d[4]) {
    Vector sn = vsin(s[2]), cs = vcos(s[2]), total = 1 + pole;
    Vector push = (u + pole * half * s[3] * s[3] * sn) / total;
    Vector turn = ((REAL)9.81 * sn - cs * push) / (half * ((REAL)(4.0 / 3.0) - pole * cs * cs / total));
    d[0] = s[1];
    d[1] = push - pole * half * turn * cs / total;
    d[2] = s[3];
    d[3] = turn;
}

static inline void step(Vector s[4], Vector u, Vector pole, Vector half, REAL h) {
    Vector k1[4], k2[4], k3[4], k4[4], y[4];
    motion(s, u, pole, half, k1);
    for (int i = 0; i < 4; i++) y[i] = s[i] + h / 2 * k1[i];
    motion(y, u, pole, half, k2);
    for (int i = 0; i < 4; i++) y[i] = s[i] + h / 2 * k2[i];
    motion(y, u, pole, half, k3);
    for (int i = 0; i < 4; i++) y[i] = s[i] + h * k3[i];
    motion(y, u, pole, half, k4);
    for (int i = 0; i < 4; i++) s[i] += h / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]);
}

static inline Vector load(const REAL *p) {
    Vector v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(REAL *p, Vector v) { __builtin_memcpy(p, &v, sizeof v); }

/* lanes is a multiple of LANES. kept may be NULL: then only final states and the largest |theta| are written. */
void run(ptrdiff_t lanes, ptrdiff_t ticks, int substeps, double length, const Network *net, const REAL *pole,
         const REAL *half, const REAL *noise, const REAL *start, REAL *final, REAL *largest, REAL *kept, int threads) {
    REAL h = (REAL)length;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (ptrdiff_t block = 0; block < lanes / LANES; block++) {
        Vector s[4], most = {0}, m = load(pole + block * LANES), l = load(half + block * LANES);
        for (int i = 0; i < 4; i++) s[i] = (Vector){0} + start[i];
        for (ptrdiff_t t = 0; t < ticks; t++) {
            ptrdiff_t at = (block * ticks + t) * 4 * LANES;
            Vector seen[4];
            for (int i = 0; i < 4; i++) seen[i] = noise ? s[i] + load(noise + at + i * LANES) : s[i];
            Vector u = force(net, seen);
            for (int j = 0; j < substeps; j++) step(s, u, m, l, h);
            EACH {
                REAL size = s[2][k] < 0 ? -s[2][k] : s[2][k];
                most[k] = size > most[k] ? size : most[k];
            }
            if (kept)
                for (int i = 0; i < 4; i++) store(kept + at + i * LANES, s[i]);
        }
        for (int i = 0; i < 4; i++) store(final + (block * 4 + i) * LANES, s[i]);
        store(largest + block * LANES, most);
    }
}
