/* The cart-pole with its network, one lane after the other: what a careful engineer writes by hand.
   Matrices are walked row by row of the input ("transposed"), so that the compiler can use its vectors.
   REAL is double or float. Arrays: noise and kept (lanes, ticks, 4), w1 (4, 64), w2 (64, 64), w3 (64). */
#include <math.h>
#include <stddef.h>

#define HIDDEN 64
#define IS_FLOAT (sizeof(REAL) == 4)
#define SIN(x) (IS_FLOAT ? (REAL)sinf((float)(x)) : (REAL)sin((double)(x)))
#define COS(x) (IS_FLOAT ? (REAL)cosf((float)(x)) : (REAL)cos((double)(x)))
#define TANH(x) (IS_FLOAT ? (REAL)tanhf((float)(x)) : (REAL)tanh((double)(x)))
#define ABS(x) ((x) < 0 ? -(x) : (x))

typedef struct { const REAL *w1, *b1, *w2, *b2, *w3, *b3; } Network;

static REAL force(const Network *net, const REAL s[4]) {
    REAL a[HIDDEN], b[HIDDEN];
    for (int i = 0; i < HIDDEN; i++) a[i] = net->b1[i];
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < HIDDEN; i++) a[i] += net->w1[j * HIDDEN + i] * s[j];
    for (int i = 0; i < HIDDEN; i++) { a[i] = TANH(a[i]); b[i] = net->b2[i]; }
    for (int j = 0; j < HIDDEN; j++)
        for (int i = 0; i < HIDDEN; i++) b[i] += net->w2[j * HIDDEN + i] * a[j];
    REAL out = net->b3[0];
    for (int i = 0; i < HIDDEN; i++) out += net->w3[i] * TANH(b[i]);
    return 10 * TANH(out);
}

static inline void motion(const REAL s[4], REAL u, REAL pole, REAL half, REAL d[4]) {
    REAL sn = SIN(s[2]), cs = COS(s[2]), total = 1 + pole;
    REAL push = (u + pole * half * s[3] * s[3] * sn) / total;
    REAL turn = ((REAL)9.81 * sn - cs * push) / (half * ((REAL)(4.0 / 3.0) - pole * cs * cs / total));
    d[0] = s[1];
    d[1] = push - pole * half * turn * cs / total;
    d[2] = s[3];
    d[3] = turn;
}

static inline void step(REAL s[4], REAL u, REAL pole, REAL half, REAL h) {
    REAL k1[4], k2[4], k3[4], k4[4], y[4];
    motion(s, u, pole, half, k1);
    for (int i = 0; i < 4; i++) y[i] = s[i] + h / 2 * k1[i];
    motion(y, u, pole, half, k2);
    for (int i = 0; i < 4; i++) y[i] = s[i] + h / 2 * k2[i];
    motion(y, u, pole, half, k3);
    for (int i = 0; i < 4; i++) y[i] = s[i] + h * k3[i];
    motion(y, u, pole, half, k4);
    for (int i = 0; i < 4; i++) s[i] += h / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]);
}

/* kept may be NULL: then only the final states and the largest |theta| are written. */
void run(ptrdiff_t lanes, ptrdiff_t ticks, int substeps, double length, const Network *net, const REAL *pole,
         const REAL *half, const REAL *noise, const REAL *start, REAL *final, REAL *largest, REAL *kept, int threads) {
    REAL h = (REAL)length;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (ptrdiff_t lane = 0; lane < lanes; lane++) {
        REAL s[4] = {start[0], start[1], start[2], start[3]}, most = 0;
        for (ptrdiff_t k = 0; k < ticks; k++) {
            REAL seen[4];
            for (int i = 0; i < 4; i++) seen[i] = s[i] + (noise ? noise[(lane * ticks + k) * 4 + i] : 0);
            REAL u = force(net, seen);
            for (int j = 0; j < substeps; j++) step(s, u, pole[lane], half[lane], h);
            if (ABS(s[2]) > most) most = ABS(s[2]);
            if (kept)
                for (int i = 0; i < 4; i++) kept[(lane * ticks + k) * 4 + i] = s[i];
        }
        for (int i = 0; i < 4; i++) final[lane * 4 + i] = s[i];
        largest[lane] = most;
    }
}
