/* A lane's own way through a segment (W = 1): adaptive steps, crossings, hits and edges, as in engine/segment.py and
engine/crossing.py. Comes between the programs and loop.h, and replaces its `segment`.

Macros: ADAPTIVE, GUARDS, SLOPE_AT_END, EVENTS (hits or edges of lanes), MAX_STEPS, ABLE(k) (whether guard k is neither at
rest nor disabled), REST(k) (puts it at rest; 0 where it cannot), ON_DENSE, ON_STEP, RESETS (switches over guards),
HITS, EDGES, NEXT_EVENT. */

#define BUDGET 64
#define TIE 1e-12
#define ZERO 1e-9
#define SHORT 1e-13
#define EPS 0x1p-52

typedef struct {
    double event, behind, size, last, goal;
    int64_t event_ns, attempts, start, end;
    int reason, slope;
    int count[GUARDS + 1];
    double value[GUARDS + 1];
    _Bool armed[GUARDS + 1], fresh[GUARDS + 1], unshown;
} walk;

#define INSIDE ARGUMENTS, walk *restrict w
#define GIVE PASS, w
#define FAIL(code) do { if (!w->reason) w->reason = (code); } while (0)

static void refresh(INSIDE)
{
    h = 0;
    p_segment(PASS);
    w->slope = 0;
}

#if GUARDS
static void read_guards(INSIDE, double *g)
{
    p_guards(PASS);
    for (int q = 0; q < GUARDS; q++) g[q] = (double)s->GUARD[q][0];
}

static double on_dense(INSIDE, int q, double part)
{
    theta = part;
    switch (q) { ON_DENSE }
    return s->ONE[0][0];
}

static double on_step(INSIDE, int q, double part)
{
    theta = part;
    switch (q) { ON_STEP }
    return s->ONE[0][0];
}

/* Chandrupatla's method on the dense output: armed at lo, fallen at hi. */
static double first_root(INSIDE, int q, double lo, double hi, double g_lo, double g_hi)
{
    double b = lo, fb = g_lo, a = hi, fa = g_hi, cc = b, fc = fb, part = 0.5, root = a;
    _Bool active = fb > 0 && fa < 0;
    for (int turn = 0; active && turn < 100; turn++) {
        const double x = a + (b - a) * part, fx = on_dense(GIVE, q, x);
        if ((fx > 0) == (fa > 0)) { cc = a; fc = fa; } else { cc = b; fc = fb; b = a; fb = fa; }
        a = x;
        fa = fx;
        const _Bool nearer = __builtin_fabs(fa) <= __builtin_fabs(fb);
        root = nearer ? a : b;
        const double width = __builtin_fabs(b - a), room = __builtin_fabs(root) * (2 * EPS) + 0.5 * EPS;
        const double least = nearer ? __builtin_fabs(fa) : __builtin_fabs(fb);
        active = width > room && least > 0 && __builtin_fabs(fx) < __builtin_inf();
        const double xi = (a - b) / (cc - b), phi = (fa - fb) / (fc - fb);
        part = 0.5;
        if (phi * phi < xi && (1 - phi) * (1 - phi) < 1 - xi) {
            const double inverse = fa / (fb - fa) * fc / (fb - fc) + (cc - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb);
            double near = 0.5 * room / width;
            near = near > 0.5 ? 0.5 : near;
            part = inverse < near ? near : inverse > 1 - near ? 1 - near : inverse;
        }
    }
    return root;
}

/* The root of the true step map, found first on the dense output. */
static double two_stage(INSIDE, int q, double lo, double g_lo, double g_hi)
{
    double x = first_root(GIVE, q, lo, 1.0, g_lo, g_hi), a = lo, b = 1.0, fa = g_lo, fb = g_hi;
    _Bool active = g_lo > 0 && g_hi < 0;
    if (!active) return fa < __builtin_fabs(fb) ? a : b;
    const double nudge = 1e-4 * (x < b - a ? x : b - a);
    double ahead = b - x > x - a ? x + nudge : x - nudge;
    const double slope = (on_dense(GIVE, q, ahead) - on_dense(GIVE, q, x)) / (ahead - x);
    double fx = on_step(GIVE, q, x), step = -fx / slope;
    _Bool settled = 0;
    for (int turn = 0; turn < 40; turn++) {
        if (fx > 0) { a = x; fa = fx; } else { b = x; fb = fx; }
        const double resolution = 2 * EPS * __builtin_fabs(x) + 0.5 * EPS;
        const _Bool rough = fx != 0 && !(__builtin_fabs(step) <= resolution) && b - a > resolution &&
                            __builtin_fabs(fx) < __builtin_inf();
        if (!rough || settled) break;
        const double best = fa < __builtin_fabs(fb) ? fa : __builtin_fabs(fb);
        ahead = x + step;
        const _Bool inside = ahead > a && ahead < b && turn % 6 < 5;
        if (!inside) ahead = 0.5 * (a + b);
        const double f_ahead = on_step(GIVE, q, ahead);
        settled = inside && __builtin_fabs(f_ahead) > 0.5 * best && __builtin_fabs(ahead - x) < 1e-7 * x;
        step = -f_ahead * (ahead - x) / (f_ahead - fx);
        x = ahead;
        fx = f_ahead;
    }
    return fa < __builtin_fabs(fb) ? a : b;
}

static double root(INSIDE, int q, double after, _Bool *missing)
{
    const double before = w->value[q];
    double low = 0, g_low = before;
    *missing = 0;
    if (before <= ZERO) {
        double left_ = 1.0, value = on_dense(GIVE, q, 1.0);
        _Bool lost = !(value > 0);
        for (int turn = 0; lost && turn < 48; turn++) {
            left_ *= 0.5;
            value = on_dense(GIVE, q, left_);
            lost = !(value > 0);
        }
        const _Bool found = !lost && left_ < 1;
        if (found) { low = left_; g_low = value; }
        *missing = !found && !(before > 0);
    }
    if (*missing) return 0.0;
    return two_stage(GIVE, q, low, g_low, after);
}

static void arm(INSIDE, const _Bool *fired)
{
    _Bool zero[GUARDS + 1], any = 0;
    read_guards(GIVE, w->value);
    for (int q = 0; q < GUARDS; q++) {
        w->armed[q] = w->value[q] > 0;
        w->fresh[q] = fired && fired[q] && __builtin_fabs(w->value[q]) <= ZERO;
        zero[q] = w->value[q] == 0 || w->fresh[q];
        any |= zero[q];
    }
    if (any) {
        p_rates(PASS);
        for (int q = 0; q < GUARDS; q++) if (zero[q]) w->armed[q] = s->GUARD[q][0] > 0;
    }
    for (int q = 0; q < GUARDS; q++) w->armed[q] = w->armed[q] && ABLE(q);
}

static void apply(INSIDE, int q)
{
    t = tau + begin;
    note(c, base, q, t);
    switch (q) { RESETS }
    refresh(GIVE);
}

static void fire(INSIDE, const _Bool *fired)
{
    _Bool pending[GUARDS + 1], done[GUARDS + 1], armed[GUARDS + 1], any = 0;
    double after[GUARDS + 1];
    for (int q = 0; q < GUARDS; q++) {
        pending[q] = fired[q];
        done[q] = 0;
        armed[q] = w->armed[q] && !fired[q];
    }
    for (int turn = 0; turn < BUDGET; turn++) {
        any = 0;
        for (int q = 0; q < GUARDS; q++) any |= pending[q];
        if (!any) break;
        for (int q = 0; q < GUARDS; q++) {
            _Bool mask = pending[q] && !w->reason;
            pending[q] = 0;
            if (!mask) continue;
            if (++w->count[q] > BUDGET) {
                mask = 0;
                if (REST(q)) refresh(GIVE); else FAIL(3 + q);
            }
            if (mask) apply(GIVE, q);
            done[q] |= mask;
            read_guards(GIVE, after);
            for (int r = 0; r < GUARDS; r++) {
                pending[r] = pending[r] || (armed[r] && after[r] <= 0 && !done[r] && mask);
                armed[r] = armed[r] && after[r] > 0;
            }
        }
    }
    refresh(GIVE);
}

/* After a hit, from which budgets begin anew: fire what it has pushed through zero. */
static void pushed(INSIDE)
{
    _Bool fired[GUARDS + 1], any = 0;
    double g[GUARDS + 1];
    memset(w->count, 0, sizeof w->count);
    read_guards(GIVE, g);
    for (int q = 0; q < GUARDS; q++) {
        fired[q] = w->armed[q] && g[q] <= 0;
        any |= fired[q];
    }
    if (any) {
        fire(GIVE, fired);
        arm(GIVE, fired);
    }
}
#endif

static void next_event(INSIDE)
{
#if EVENTS
    int64_t first = INT64_C(4611686018427387904);
    NEXT_EVENT
    w->event_ns = first;
    w->event = first < w->end ? (double)(first - w->start) / 1e9 : __builtin_inf();
#endif
}

/* The last time at which sources may be read in this stretch. */
static double edge_ahead(const walk *w)
{
#if LANE_EDGES
    const int64_t ahead = w->event_ns < w->end ? w->event_ns : w->end;
#else
    const int64_t ahead = w->end;
#endif
    return __builtin_nextafter((double)ahead / 1e9, -__builtin_inf());
}

static void restart(INSIDE)
{
#if ADAPTIVE
#if STATES
    if (FIRST_STEP > 0) w->size = FIRST_STEP;
    else {
        p_first(PASS);
        w->size = s->NEXT[0][0];
    }
#else
    w->size = (double)(w->end - w->start) / 1e9;
#endif
    if (c->max_step > 0 && w->size > c->max_step) w->size = c->max_step;
    w->last = 0;
#endif
}

/* Record where the lane is, if that is a time of the grid and not recorded yet. */
static void show(INSIDE, int64_t *next)
{
    if (!w->unshown) return;
    w->unshown = 0;
    at = (double)(*next - w->start) / 1e9;
    theta = 0;
    t = (double)*next / 1e9;
    p_within(PASS);
    for (int n = 0; n < KEYS; n++) column[n]++;
    *next += c->grid;
}

static void to(INSIDE, double goal, double whole, int64_t *next)
{
    _Bool fresh = 1;
    while (!w->reason && !*c->stop) {
        const double target = w->event < goal ? w->event : goal, gap = target - tau;
        _Bool last = 1, good = 1, crossed = 0, had_dense = 0;
        _Bool fired[GUARDS + 1];
        if (gap > 0) show(GIVE, next);
#if ADAPTIVE
        last = w->size >= gap * (1 - 1e-12);
        h = last ? gap : w->size;
#else
        h = fresh && target == goal ? whole : gap;
#endif
        left = edge_ahead(w);
        right = w->behind;
#if STATES
        if (!w->slope) p_slope(PASS);
        p_attempt(PASS);
        w->slope = 1;
#endif
#if ADAPTIVE && STATES
        const double norm = s->NORM[0][0];
        good = norm <= 1;
        s->LAST[0][0] = w->last;
        p_control(PASS);
        double longer = s->NEXT[0][0];
        if (c->max_step > 0 && longer > c->max_step) longer = c->max_step;
        if (good && last && !(longer >= w->size)) longer = w->size;
        if (h > 0) {
            w->size = longer;
            w->last = s->NOW[0][0];
        }
        w->attempts++;
        if (!good && w->size < 1e-14 * (1e-3 + tau)) FAIL(1);
        else if (w->attempts >= MAX_STEPS) FAIL(2);
        good = good && !w->reason;
#endif
        double end = (last && gap > 0) || gap == 0 ? target : tau + h;
        _Bool reached = good && last;
#if GUARDS
        if (good) {
            double after[GUARDS + 1];
            _Bool any = 0;
            at = end;
#if STATES
            p_ahead(PASS);
            for (int q = 0; q < GUARDS; q++) after[q] = (double)s->GUARD[q][0];
#else
            {
                const double kept = tau;
                tau = end;
                read_guards(GIVE, after);
                tau = kept;
            }
#endif
            for (int q = 0; q < GUARDS; q++) {
                fired[q] = w->armed[q] && after[q] <= 0;
                any |= fired[q];
            }
            if (any) {
                double where[GUARDS + 1], first = 2;
                _Bool missing[GUARDS + 1];
#if STATES
                p_dense(PASS);
#endif
                for (int q = 0; q < GUARDS; q++) {
                    if (!fired[q]) continue;
                    where[q] = root(GIVE, q, after[q], &missing[q]);
                    if (where[q] < first) first = where[q];
                }
                for (int q = 0; q < GUARDS; q++) {
                    if (!fired[q]) continue;
                    fired[q] = where[q] <= first + TIE;
                    if (fired[q] && w->fresh[q] && (missing[q] || where[q] < SHORT)) w->count[q] = BUDGET;
                }
                crossed = 1;
                h = h * first;
                end = tau + h;
                reached = 0;
#if STATES
                p_attempt(PASS);
#endif
            }
        }
#endif
        const _Bool due = reached && w->event <= goal && target == w->event;
        if (good) {
            for (; *next < w->end; *next += c->grid) {
                at = (double)(*next - w->start) / 1e9;
                if (at == w->event) {
                    w->unshown = due;
                    break;
                }
                if (!(h > 0 && at <= tau + h)) break;
                theta = (at - tau) / h;
                if (theta == 1.0 || (crossed && at == end)) { /* after what happens there */
                    w->unshown = 1;
                    break;
                }
#if STATES
                if (!had_dense) p_dense(PASS);
#endif
                had_dense = 1;
                t = (double)*next / 1e9;
                p_within(PASS);
                for (int n = 0; n < KEYS; n++) column[n]++;
            }
#if STATES
            p_accept(PASS);
#if SLOPE_AT_END
            KEEP_SLOPE
#else
            w->slope = 0;
#endif
#endif
            tau = end;
            fresh = 0;
        }
#if GUARDS
        if (crossed) {
            fire(GIVE, fired);
            next_event(GIVE); /* what it triggers may ask for a hit */
        }
#endif
        if (due) {
#if EVENTS
            const int64_t now = w->event_ns;
            HITS
            EDGES
            next_event(GIVE);
#endif
        }
#if GUARDS
        if (good) arm(GIVE, crossed ? fired : 0);
#endif
        if (crossed || due) {
            left = edge_ahead(w);
            right = w->behind;
            restart(GIVE);
        }
        if (reached && !due && target == goal) break;
        if (due && w->event > goal && tau >= goal) break;
    }
    w->goal = tau;
}

static int segment(ARGUMENTS, int64_t last, int count, int checks, _Bool known)
{
    walk w_, *w = &w_;
    const double length = (double)(ns - last) / 1e9;
    int64_t next = c->grid ? (last / c->grid + 1) * c->grid : INT64_MAX;
    memset(w, 0, sizeof *w);
    w->start = last;
    w->end = ns;
    w->size = w->event = __builtin_inf();
    begin = (double)last / 1e9;
    w->behind = begin;
    left = edge_ahead(w);
    right = begin;
    tau = 0;
    refresh(GIVE);
#if GUARDS
    {
        _Bool fired[GUARDS + 1], any = 0;
        read_guards(GIVE, w->value);
        for (int q = 0; q < GUARDS; q++) {
            w->armed[q] = known && s->ARMED[q][0];
            fired[q] = w->armed[q] && w->value[q] <= 0;
            any |= fired[q];
        }
        if (any) fire(GIVE, fired);
        arm(GIVE, any ? fired : 0);
    }
#endif
    next_event(GIVE);
    left = edge_ahead(w);
    restart(GIVE);
    for (int j = 0; j < count && !w->reason && !*c->stop; j++) {
        to(GIVE, length * (j + 1) / count, length / count, &next);
        tau = w->goal;
    }
#if GUARDS
    {
        left = edge_ahead(w);
        read_guards(GIVE, w->value);
        for (int q = 0; q < GUARDS; q++) s->ARMED[q][0] = w->value[q] > 0 && ABLE(q);
    }
#endif
    if (w->reason) for (; next < ns; next += c->grid) for (int n = 0; n < KEYS; n++) column[n]++;
    return w->reason;
}
