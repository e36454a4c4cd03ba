/* x' = v, v' = mu (1 - x^2) v - x: each lane with its own steps. final (lanes, 2). */
#include <stddef.h>
#include <string.h>

static inline void field(const double *y, double mu, double *d) {
    d[0] = y[1];
    d[1] = mu * (1 - y[0] * y[0]) * y[1] - y[0];
}

#include "adaptive.h"

void run(ptrdiff_t lanes, double until, double mu, double rtol, double atol, double first, const double *x0,
         double *final) {
    for (ptrdiff_t lane = 0; lane < lanes; lane++) {
        double t = 0, h = first, y[2] = {x0[lane], 0}, y1[2], k[7][2];
        field(y, mu, k[0]);
        while (t < until) {
            int last = t + h >= until;
            double length = last ? until - t : h, norm = attempt(mu, y, length, rtol, atol, y1, k);
            h = length * factor(norm);
            if (norm <= 1) {
                t = last ? until : t + length;
                memcpy(y, y1, sizeof y);
                memcpy(k[0], k[6], sizeof k[0]);
            }
        }
        memcpy(final + lane * 2, y, sizeof y);
    }
}
