/* Tsit5 (Tsitouras 2011) with the step control of diffrax's PIDController at its defaults: root mean square of
   error / (atol + rtol max(|y0|, |y1|)), factor 0.9 norm^(-1/5) within [0.2, 10].
   The file that includes this has defined `field(y, parameter, d)` and two states. */
#include <math.h>

#define UNROLLED _Pragma("GCC unroll 7")
#define LARGER(a, b) ((a) > (b) ? (a) : (b)) /* fmax, which knows of NaN, is a call */

static const double A[6][6] = {
    {0.161},
    {-0.008480655492356989, 0.335480655492357},
    {2.8971530571054935, -6.359448489975075, 4.3622954328695815},
    {5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525},
    {5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383},
    {0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774},
};
static const double E[7] = {-0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995,
                            -0.1447110071732629, 0.5823571654525552, -0.45808210592918697, 0.015151515151515152};

/* One attempt of size h from y0 with k[0] = field(y0); writes y1 and k[1..6]; returns the error's norm. */
static inline double attempt(double parameter, const double y0[2], double h, double rtol, double atol,
                             double y1[2], double k[7][2]) {
    double sum = 0;
    UNROLLED for (int s = 0; s < 6; s++) {
        for (int i = 0; i < 2; i++) {
            double slope = 0;
            UNROLLED for (int j = 0; j <= s; j++) slope += A[s][j] * k[j][i];
            y1[i] = y0[i] + h * slope;
        }
        field(y1, parameter, k[s + 1]);
    }
    for (int i = 0; i < 2; i++) {
        double error = 0;
        UNROLLED for (int j = 0; j < 7; j++) error += E[j] * k[j][i];
        double scaled = h * error / (atol + rtol * LARGER(fabs(y0[i]), fabs(y1[i])));
        sum += scaled * scaled;
    }
    return sqrt(sum / 2);
}

static inline double factor(double norm) {
    double gain = norm > 0 ? 0.9 * pow(norm, -0.2) : 10.0;
    return gain < 0.2 ? 0.2 : gain > 10.0 ? 10.0 : gain;
}

/* Hermite's cubic at the fraction s of a step, one component. */
static inline double inside(double s, double h, double y0, double d0, double y1, double d1) {
    double r = 1 - s;
    return r * r * (1 + 2 * s) * y0 + s * s * (3 - 2 * s) * y1 + s * r * h * (r * d0 - s * d1);
}
