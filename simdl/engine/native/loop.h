/* The loop over time for a block of W lanes that all have the same schedule: S4 at instants, equal steps in between.

What a run needs comes before this text: `block`, `hoisted`, the programs p_*, and as macros: CLOCKS, KEYS, QUEUES,
CHANGING (the bytes of a block that a run changes), INSTANT (the switch over programs), PUBLISH, LOAD (the inputs),
FINITE (whether states are finite), RESTORE (a lane, from `saved`), MEND (recorded values of a lane). */

#if !WALK
static void segment(ARGUMENTS, int64_t last, int count, int checks)
{
    const double length = (double)(ns - last) / 1e9, whole = length / count;
    int64_t next = c->grid ? (last / c->grid + 1) * c->grid : INT64_MAX;
    begin = (double)last / 1e9;
    left = __builtin_nextafter((double)ns / 1e9, -__builtin_inf());
    h = whole;
    p_segment(PASS);
#if STATES
    for (int j = 0; j < count && !*c->stop; j++) {
        tau = length * j / count;
        if (checks || next >= ns || (double)(next - last) / 1e9 > tau + h) {
            p_step(PASS);
            continue;
        }
        _Bool end = 0;
        for (; next < ns && (double)(next - last) / 1e9 <= tau + h; next += c->grid) {
            at = (double)(next - last) / 1e9;
            theta = (at - tau) / h;
            t = (double)next / 1e9;
            if (theta == 1.0) {
                end = 1;
                break;
            }
            p_within(PASS);
            for (int n = 0; n < KEYS; n++) column[n]++;
        }
        p_step(PASS);
        if (end) {
            tau = at;
            p_shown(PASS);
            for (int n = 0; n < KEYS; n++) column[n]++;
            next += c->grid;
        }
    }
#else
    for (; next < ns && !*c->stop; next += c->grid) {
        tau = (double)(next - last) / 1e9;
        t = (double)next / 1e9;
        p_shown(PASS);
        for (int n = 0; n < KEYS; n++) column[n]++;
    }
#endif
}
#endif

static int steps(const context *c, int64_t length)
{
    if (c->max_step <= 0) return 1;
    const double count = __builtin_ceil((double)length / 1e9 / c->max_step * (1 - 1e-12));
    return count < 1 ? 1 : (int)count;
}

#if STATES && !WALK
/* The beginning of a segment of lane 0 of a block again, with half the step. */
static void probe(ARGUMENTS, const block *saved, int64_t last, int count)
{
    block *coarse = (block *)c->scratch + (PAUSES ? c->number : 1), *fine = coarse + 1;
    const int part = count < 64 ? count : 64;
    const double length = (double)(ns - last) / 1e9, whole = length / count;
    memcpy(coarse, s, sizeof *s);
    memcpy(coarse, saved, CHANGING);
    memcpy(fine, coarse, sizeof *s);
    begin = (double)last / 1e9;
    left = __builtin_nextafter((double)ns / 1e9, -__builtin_inf());
    for (int j = 0; j < part; j++) {
        s = coarse;
        h = whole;
        tau = length * j / count;
        p_segment(PASS);
        p_step(PASS);
        s = fine;
        h = whole / 2;
        p_segment(PASS);
        p_step(PASS);
        tau += h;
        p_step(PASS);
    }
    for (int e = 0; e < STATES; e++) {
        const double one = (double)coarse->STATE[e][0], two = (double)fine->STATE[e][0];
        const double size = __builtin_fabs(two) > 1e-6 ? __builtin_fabs(two) : 1e-6;
        const double error = __builtin_fabs(two - one) / size;
        if (error > c->accuracy[0]) {
            c->accuracy[0] = error;
            c->accuracy[1] = e;
            c->accuracy[2] = begin;
        }
    }
}
#endif

enum { FIRST, PART, START, ARMED_KNOWN, CHECKED };

static void run_block(const context *c, int64_t b, int thread, int64_t *next)
{
    block *s = (block *)c->blocks + b;
    block *saved = (block *)c->scratch + (PAUSES ? b : 3 * thread);  /* a pause must not lose what was saved */
    hoisted hoisted_, *k = &hoisted_;
    const int64_t base = b * W, *lane = c->ids + base;
    int64_t column_[KEYS + 1], mark[KEYS + 1], tail_[QUEUES + 1], *column = column_, *tail = tail_;
    int64_t i = 0, ns = 0, last = c->place[START], part = c->place[PART];
    double t = 0, tau = 0, h = 0, theta = 0, at = 0, begin = 0, left = 0, right = 0;
    _Bool known = c->place[ARMED_KNOWN];
    int64_t piece[INPUTS + 1];
    int64_t ring[QUEUES + 1][RING];
    int checked = c->place[CHECKED];
    for (int n = 0; n < KEYS; n++) {
        column[n] = c->column[n];
        mark[n] = c->mark[n];
    }
    for (int n = 0; n < INPUTS; n++) piece[n] = -1;
    for (int q = 0; q < QUEUES; q++) memcpy(ring[q], c->ring + q * RING, sizeof ring[q]);
    if (last >= 0) {
        ns = last;
        LOAD
    }
    p_lane(PASS);
    for (i = c->place[FIRST]; i < c->count; i++) {
        int reason = 0;
        if (*c->stop) return;
        ns = c->ns[i];
        if (part > 0) goto instant;
        memcpy(saved, s, CHANGING);
        for (int n = 0; n < KEYS; n++) mark[n] = column[n];
        if (last >= 0 && ns > last) {
            const int count = steps(c, ns - last);
#if WALK
            if (s->frozen[0][0]) {
                if (c->grid) for (int64_t q = (last / c->grid + 1) * c->grid; q < ns; q += c->grid) {
                    for (int n = 0; n < KEYS; n++) column[n]++;
                }
            } else {
                reason = segment(PASS, last, ADAPTIVE ? 1 : count, 0, known);
            }
            known = 1;
#else
            segment(PASS, last, count, 0);
#endif
#if STATES && !WALK
            if (b == 0 && c->accuracy && checked < 64 && !s->frozen[0][0]) {
                checked++;
                probe(PASS, saved, last, count);
            }
#endif
        }
        PUBLISH
    instant:
        LOAD
        t = (double)ns / 1e9;
        s->reason[0][0] = part > 0 ? s->reason[0][0] : reason;
        switch (c->program[i]) {
        INSTANT
        }
        part = 0;
        reason = s->reason[0][0];
        {
            double sum[W];
            int bad = 0;
            LANES sum[l] = 0;
            FINITE
            if (reason) sum[0] = 1;
            for (int l = 0; l < W; l++) bad |= sum[l] != 0 || s->frozen[0][l];
            if (bad) {
                for (int l = 0; l < W; l++) {
                    if (s->frozen[0][l] || sum[l] == 0) continue;
                    s->frozen[0][l] = 1;
                    c->failed[base + l] = last < 0 ? 0 : last;
                    CAUSE
                    if (reason) c->cause[base + l] = -1 - reason;
                }
                for (int l = 0; l < W; l++) {
                    if (!s->frozen[0][l]) continue;
                    RESTORE
                    MEND
                }
            }
        }
        last = ns;
    }
leave:
    if (b == 0) {
        for (int q = 0; q < QUEUES; q++) memcpy(c->ring_next + q * RING, ring[q], sizeof ring[q]);
        for (int n = 0; n < KEYS; n++) {
            c->column_next[n] = column[n];
            c->mark_next[n] = mark[n];
        }
    }
    if (b == c->number - 1) {
        next[FIRST] = i;
        next[PART] = part;
        next[START] = last;
        next[ARMED_KNOWN] = known;
        next[CHECKED] = checked;
    }
}

/* Runs to the end of the table of instants (0), or to the next call into Python (1): `place` says where that is. Or it
was stopped (2). */
int32_t run(const context *c)
{
    int64_t next[5];
    memcpy(next, c->place, sizeof next);
    watch(c);
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)c->threads) if (c->threads > 1)
    for (int64_t b = 0; b < c->number; b++) run_block(c, b, omp_get_thread_num(), next);
#else
    for (int64_t b = 0; b < c->number; b++) run_block(c, b, 0, next);
#endif
    unwatch(c);
    if (*c->stop) return 2;
    memcpy(c->place, next, sizeof next);
    return next[PART] > 0;
}
