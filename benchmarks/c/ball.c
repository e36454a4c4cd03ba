/* A bouncing ball, each lane with its own restitution: impacts by bisection on the step's interpolant to `impact`
   seconds, then a step of `first` again. final (lanes, 2), bounces (lanes). */
#include <stddef.h>
#include <string.h>

static inline void field(const double *y, double gravity, double *d) {
    d[0] = y[1];
    d[1] = -gravity;
}

#include "adaptive.h"

void run(ptrdiff_t lanes, double until, double gravity, double rtol, double atol, double first, double longest,
         double impact, const double *restitution, double *final, double *bounces) {
    for (ptrdiff_t lane = 0; lane < lanes; lane++) {
        double t = 0, h = first, y[2] = {1, 0}, y1[2], k[7][2];
        ptrdiff_t count = 0;
        field(y, gravity, k[0]);
        while (t < until) {
            int last = t + h >= until;
            double length = last ? until - t : h, norm = attempt(gravity, y, length, rtol, atol, y1, k);
            if (norm <= 1 && y1[0] <= 0 && y1[1] < 0) {
                double low = 0, high = 1;
                while ((high - low) * length > impact) {
                    double middle = (low + high) / 2;
                    if (inside(middle, length, y[0], k[0][0], y1[0], k[6][0]) > 0) low = middle;
                    else high = middle;
                }
                t += high * length;
                y[1] = -restitution[lane] * inside(high, length, y[1], k[0][1], y1[1], k[6][1]);
                y[0] = 0;
                count++;
                h = first;
                field(y, gravity, k[0]);
                continue;
            }
            h = length * factor(norm);
            if (h > longest) h = longest;
            if (norm <= 1) {
                t = last ? until : t + length;
                memcpy(y, y1, sizeof y);
                memcpy(k[0], k[6], sizeof k[0]);
            }
        }
        memcpy(final + lane * 2, y, sizeof y);
        bounces[lane] = count;
    }
}
