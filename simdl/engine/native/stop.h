/* Leaving a run early. Python hears of Ctrl-C only when a call returns, so that while one is watched, a signal for which
a handler stands also sets `*c->stop`, at which the loops leave: what they have done so far is worth nothing then. */

#if defined(__unix__) || defined(__APPLE__)
#include <signal.h>

static const int heard[2] = {SIGINT, SIGTERM};
static struct sigaction heard_before[2];
static volatile int32_t *stop_now;

static void hear(int number, siginfo_t *about, void *where)
{
    const struct sigaction *before = &heard_before[number == SIGTERM];
    *stop_now = 1;
    if (before->sa_flags & SA_SIGINFO) before->sa_sigaction(number, about, where);
    else before->sa_handler(number);
}

/* Only the main thread watches, so that one run at a time does. */
static void watch(const context *c)
{
    stop_now = c->stop;
    for (int n = 0; c->watched && n < 2; n++) {
        struct sigaction here;
        sigaction(heard[n], 0, &heard_before[n]);
        if (heard_before[n].sa_handler == SIG_DFL || heard_before[n].sa_handler == SIG_IGN) continue;
        here = heard_before[n];
        here.sa_flags |= SA_SIGINFO;
        here.sa_sigaction = hear;
        sigaction(heard[n], &here, 0);
    }
}

static void unwatch(const context *c)
{
    for (int n = 0; c->watched && n < 2; n++) {
        if (heard_before[n].sa_handler == SIG_DFL || heard_before[n].sa_handler == SIG_IGN) continue;
        sigaction(heard[n], &heard_before[n], 0);
    }
}
#else
static void watch(const context *c) {}
static void unwatch(const context *c) {}
#endif
