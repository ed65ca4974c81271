/* SPDX-License-Identifier: MIT */
#include "base/outage.h"

#include <stdio.h>

void outage_init(struct outage *outage, const char *waiting, unsigned patience_ms, struct log *log)
{
    *outage = (struct outage){.waiting = waiting, .patience_ms = patience_ms, .log = log};
}

/* Writes what became of the requests until now, once in OUTAGE_REMIND_MS. */
static void outage_remind(struct outage *outage, uint64_t now_ms)
{
    if (now_ms - outage->reminded_ms < OUTAGE_REMIND_MS)
        return;
    outage->reminded_ms = now_ms;
    log_write(outage->log, LOG_WARNING,
        "%s still wait, after %llu s: %llu requests waited, %llu of them got an error: %s",
        outage->waiting, (unsigned long long)(now_ms - outage->began_ms) / 1000,
        (unsigned long long)outage->n_waited, (unsigned long long)outage->n_failed, outage->reason);
}

void outage_continue(struct outage *outage, uint64_t now_ms, const char *reason)
{
    if (outage->began_ms != 0 && now_ms - outage->tried_ms >= OUTAGE_FORGET_MS)
        outage_end(outage, outage->tried_ms);
    if (outage->began_ms == 0)
        outage->began_ms = now_ms;
    outage->tried_ms = now_ms;
    (void)snprintf(outage->reason, sizeof outage->reason, "%s", reason);
    if (outage->is_reported)
        outage_remind(outage, now_ms);
    if (outage->is_reported || outage->n_waited == 0 ||
        now_ms - outage->began_ms < OUTAGE_REPORT_MS)
        return;
    outage->is_reported = true;
    outage->reminded_ms = now_ms;
    log_write(outage->log, LOG_WARNING, "%s wait, for %u s at most: %s", outage->waiting,
        outage->patience_ms / 1000, outage->reason);
}

void outage_end(struct outage *outage, uint64_t now_ms)
{
    const uint64_t began_ms = outage->began_ms;

    if (began_ms == 0)
        return;
    if (outage->is_reported)
        log_write(outage->log, LOG_WARNING,
            "%s no longer wait, after %llu s: %llu requests waited, %llu of them got an error",
            outage->waiting, (unsigned long long)(now_ms - began_ms) / 1000,
            (unsigned long long)outage->n_waited, (unsigned long long)outage->n_failed);
    outage_init(outage, outage->waiting, outage->patience_ms, outage->log);
}

int outage_fail(struct outage *outage, uint64_t now_ms, int result, struct error *error)
{
    const struct error reason = *error;
    const uint64_t lasted_s = outage->began_ms == 0 ? 0 : (now_ms - outage->began_ms) / 1000;

    outage->n_failed++;
    if (lasted_s > 0)
        (void)error_set(error, result, "%s; this has lasted for %llu s", reason.text,
            (unsigned long long)lasted_s);
    return result;
}

static uint64_t outage_later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t outage_deadline_ms(const struct outage *outage, uint64_t arrived_ms)
{
    const unsigned patience_ms = outage->patience_ms;
    const uint64_t own_ms = arrived_ms + patience_ms;
    uint64_t end_ms;

    if (outage->began_ms == 0 || patience_ms <= OUTAGE_LATE_MS)
        return own_ms;
    end_ms = outage_later(outage->began_ms + patience_ms, arrived_ms + OUTAGE_LATE_MS);
    return end_ms < own_ms ? end_ms : own_ms;
}
