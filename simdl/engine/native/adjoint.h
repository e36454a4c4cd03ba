/* Gradients of a run for a block of W lanes: forward in stretches that fit on the tape, then back through each of them.

What comes before this text: `block`, `hoisted`, the programs p_* (which keep what back programs need at k->z) and their
back programs b_*, and as macros: STEPS (whether there are continuous states), GRID, the bytes of the records of the tape
(HEAD, SEGMENT, STEP, END, CHECK) and for each SAVE_* and LOAD_*, which move slots to a record and back; PUBLISH, LOAD
and their opposites UNPUBLISH, UNLOAD; FORWARD and BACKWARD, the switches over programs of instants. */

typedef struct {
    int64_t ring[QUEUES + 1][2], after[QUEUES + 1][2], piece[INPUTS + 1];
} head_;

static int steps(const context *c, int64_t length)
{
    if (c->max_step <= 0) return 1;
    const double count = __builtin_ceil((double)length / 1e9 / c->max_step * (1 - 1e-12));
    return count < 1 ? 1 : (int)count;
}

/* A segment forward: one step after another, each with its record. */
static char *ahead(ARGUMENTS, int64_t last, int keep, char *z)
{
    const int count = steps(c, ns - last);
    const double length = (double)(ns - last) / 1e9;
    begin = (double)last / 1e9;
    left = __builtin_nextafter((double)ns / 1e9, -__builtin_inf());
    h = length / count;
    SAVE_SEGMENT
    z += keep * SEGMENT;
#if STEPS
    p_segment(PASS);
    for (int j = 0; j < count && !*c->stop; j++) {
        tau = length * j / count;
        SAVE_STEP
        k->z = z;
        p_step(PASS);
        z += keep * STEP;
    }
#endif
    SAVE_END
    return z + keep * END;
}

/* A segment backward. */
static char *behind(ARGUMENTS, int64_t last, char *z)
{
    const int count = steps(c, ns - last);
    const double length = (double)(ns - last) / 1e9;
    char *first = z - END - (STEPS ? count : 0) * (int64_t)STEP - SEGMENT;
    begin = (double)last / 1e9;
    left = __builtin_nextafter((double)ns / 1e9, -__builtin_inf());
    h = length / count;
    z -= END;
    LOAD_END
    {
        char *const end = z;
        z = first;
        LOAD_SEGMENT
        z = end;
    }
    p_segment(PASS);
    p_segment_back(PASS);
#if GRID
    int64_t next = c->grid ? (ns - 1) / c->grid * c->grid : -1;
#endif
#if STEPS
    for (int j = count - 1; j >= 0 && !*c->stop; j--) {
        tau = length * j / count;
#if GRID
        const double before = length * (j - 1) / count + h;
        at = (double)(next - last) / 1e9;
        if (next > last && (j == 0 || at > before) && (at - tau) / h == 1.0) {
            const double start = tau;
            tau = at;
            t = (double)next / 1e9;
            for (int n = 0; n < KEYS; n++) column[n]--;
            b_shown(PASS);
            tau = start;
            next -= c->grid;
        }
#endif
        z -= STEP;
        LOAD_STEP
        k->z = z;
        b_step(PASS);
#if GRID
        for (; next > last && (j == 0 || (double)(next - last) / 1e9 > before); next -= c->grid) {
            at = (double)(next - last) / 1e9;
            theta = (at - tau) / h;
            t = (double)next / 1e9;
            for (int n = 0; n < KEYS; n++) column[n]--;
            b_within(PASS);
        }
#endif
    }
#elif GRID
    for (; next > last; next -= c->grid) {
        tau = (double)(next - last) / 1e9;
        t = (double)next / 1e9;
        for (int n = 0; n < KEYS; n++) column[n]--;
        b_shown(PASS);
    }
#endif
    return first;
}

static void adjoint_block(const context *c, const backward *d, int64_t b, int64_t range, int thread)
{
    block *s = (block *)c->blocks + b;
    hoisted hoisted_, *k = &hoisted_;
    const int64_t base = b * W, *lane = c->ids + base, stretches = d->stretches;
    int64_t column_[KEYS + 1], tail_[QUEUES + 1], *column = column_, *tail = tail_;
    int64_t i = 0, ns = 0, last = d->start, piece[INPUTS + 1], first[INPUTS + 1], ring[QUEUES + 1][RING];
    double t = 0, tau = 0, h = 0, theta = 0, at = 0, begin = 0, left = 0, right = 0;
    char *tape = d->tape + thread * d->room, *checks = d->checks + thread * stretches * CHECK, *z = tape;
    k->d = d;
    k->sums = d->sums + range * SUMS;
    for (int n = 0; n < KEYS; n++) column[n] = d->columns[n];
    for (int n = 0; n < INPUTS; n++) piece[n] = -1;
    for (int q = 0; q < QUEUES; q++) memcpy(ring[q], c->ring + q * RING, sizeof ring[q]);
    if (last >= 0) {
        ns = last;
        LOAD
    }
    memcpy(first, piece, sizeof first);
    k->z = tape;
    p_lane(PASS);
    p_lane_back(PASS);
    for (int64_t turn = 1 - stretches; turn < stretches; turn++) {
        const int64_t q_ = turn < 0 ? turn + stretches - 1 : stretches - 1 - turn;
        const int keep = turn >= 0;
        char *const check = checks + q_ * CHECK;
        if (turn <= 0) {
            z = check;
            SAVE_CHECK
            memcpy(z + CHECKED, ring, sizeof ring);
            memcpy(z + CHECKED + sizeof ring, piece, sizeof piece);
        } else {
            z = check;
            LOAD_CHECK
            memcpy(ring, z + CHECKED, sizeof ring);
            memcpy(piece, z + CHECKED + sizeof ring, sizeof piece);
        }
        z = tape;
        last = d->cuts[q_] > 0 ? c->ns[d->cuts[q_] - 1] : d->start;
        for (i = d->cuts[q_]; i < d->cuts[q_ + 1]; i++) {
            if (*c->stop) return;
            ns = c->ns[i];
            if (last >= 0 && ns > last) z = ahead(PASS, last, keep, z);
            head_ *const head = (head_ *)z;
            memcpy(head->piece, piece, sizeof piece);
            for (int q = 0; q < QUEUES; q++) memcpy(head->ring[q], ring[q], sizeof head->ring[q]);
            SAVE_HEAD
            PUBLISH
            for (int q = 0; q < QUEUES; q++) memcpy(head->after[q], ring[q], sizeof head->after[q]);
            z += keep * HEAD;
            LOAD
            t = (double)ns / 1e9;
            switch (c->program[i]) {
            FORWARD
            }
            last = ns;
        }
        if (!keep) continue;
        for (i = d->cuts[q_ + 1] - 1; i >= d->cuts[q_]; i--) {
            if (*c->stop) return;
            ns = c->ns[i];
            last = i > 0 ? c->ns[i - 1] : d->start;
            t = (double)ns / 1e9;
            switch (c->program[i]) {
            BACKWARD
            }
            z -= HEAD;
            const head_ *const head = (const head_ *)z;
            UNLOAD
            LOAD_HEAD
            UNPUBLISH
            if (last >= 0 && ns > last) z = behind(PASS, last, z);
        }
    }
    {
        head_ start;
        for (int n = 0; n < INPUTS; n++) {
            start.piece[n] = -1;
            piece[n] = first[n];
        }
        const head_ *const head = &start;
        UNLOAD
    }
}

/* Whether it was stopped. */
int32_t adjoint(const context *c, const backward *d)
{
    watch(c);
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)c->threads) if (c->threads > 1)
#endif
    for (int64_t range = 0; range < d->ranges; range++) {
#ifdef _OPENMP
        const int thread = omp_get_thread_num();
#else
        const int thread = 0;
#endif
        const int64_t end = (range + 1) * c->number / d->ranges;
        for (int64_t b = range * c->number / d->ranges; b < end; b++) adjoint_block(c, d, b, range, thread);
    }
    unwatch(c);
    return *c->stop;
}
