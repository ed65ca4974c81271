/* SPDX-License-Identifier: MIT */
/* prepare → warm up → measure → report. A signal or a failure ends the current phase and skips to
 * the report. */
#include "bench/run.h"

#include "base/process.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define PREPARE_CONNECTIONS 8 /* maximum; requests are pipelined */
#define PREPARE_PIPELINE 64

struct bench_run {
    const struct cli *cli;
    const struct bench_settings *settings;
    struct bench_target target;
    struct bench_work *work;
    struct bench_result result;
    struct error error;
    int stop; /* a signalfd, or -1 */
};

static uint64_t bench_run_to_ns(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static int bench_run_phase(struct bench_run *run, struct bench_load *load, struct bench_phase phase,
    const char *name, struct bench_part *part)
{
    struct bench_progress progress = {.part = name};
    int result;

    phase.work = run->work;
    if (isatty(STDERR_FILENO)) {
        phase.tick = bench_progress_tick;
        phase.tick_context = &progress;
    }
    result = bench_load_run(load, &phase, &part->figures, &run->error);
    bench_progress_clear(&progress);
    part->counts = bench_work_take_counts(run->work);
    return result;
}

static sigset_t bench_run_stop_signals(void)
{
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    return signals;
}

/* Opens the connections. A signal ends the program meanwhile: connecting blocks, and there are no
 * figures to report yet. */
static int bench_run_connect_all(
    struct bench_run *run, const struct bench_load_options *options, struct bench_load **load)
{
    sigset_t signals = bench_run_stop_signals();
    int result;

    (void)sigprocmask(SIG_UNBLOCK, &signals, NULL);
    result = bench_load_create(load, &run->target, options, &run->error);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    return result;
}

static int bench_run_prepare(struct bench_run *run)
{
    const struct bench_settings *settings = run->settings;
    const struct bench_load_options options = {
        .connections = settings->connections < PREPARE_CONNECTIONS ? settings->connections
                                                                   : PREPARE_CONNECTIONS,
        .depth = PREPARE_PIPELINE,
        .stop = run->stop,
    };
    const struct bench_phase phase = {
        .requests = bench_work_preparations(run->work), .next = bench_work_prepare};
    struct bench_load *load;
    int result;

    if (phase.requests == 0 || settings->prepared)
        return 0;
    result = bench_run_connect_all(run, &options, &load);
    if (result == 0)
        result = bench_run_phase(run, load, phase, "preparing", &run->result.prepare);
    bench_load_free(load);
    return result;
}

static double bench_run_seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static int bench_run_measure(struct bench_run *run, struct bench_load *load)
{
    const struct bench_phase phase = {.requests = run->settings->requests,
        .duration_ns = bench_run_to_ns(run->settings->seconds),
        .next = bench_work_next};
    struct rusage before;
    struct rusage after;
    int result;

    (void)getrusage(RUSAGE_SELF, &before);
    result = bench_run_phase(run, load, phase, "measuring", &run->result.measured);
    (void)getrusage(RUSAGE_SELF, &after);
    run->result.user_s =
        bench_run_seconds_of(after.ru_utime) - bench_run_seconds_of(before.ru_utime);
    run->result.system_s =
        bench_run_seconds_of(after.ru_stime) - bench_run_seconds_of(before.ru_stime);
    return result;
}

static int bench_run_warm_up_and_measure(struct bench_run *run)
{
    const struct bench_settings *settings = run->settings;
    const struct bench_load_options options = {
        .connections = settings->connections,
        .depth = settings->pipeline,
        .reconnect = settings->reconnect,
        .stop = run->stop,
    };
    const struct bench_phase warm_up = {.requests = settings->warm_up_requests,
        .duration_ns = bench_run_to_ns(settings->warm_up_s),
        .next = bench_work_next};
    struct bench_load *load;
    int result = bench_run_connect_all(run, &options, &load);

    if (result == 0 && (warm_up.requests > 0 || warm_up.duration_ns > 0))
        result = bench_run_phase(run, load, warm_up, "warming up", &run->result.warm_up);
    if (result == 0 && !run->result.warm_up.figures.stopped)
        result = bench_run_measure(run, load);
    bench_load_free(load);
    return result;
}

/* ---- before and after ---- */

/* Turns SIGINT and SIGTERM into events, so that an interrupted run reports its figures. */
static int bench_run_catch_signals(struct bench_run *run)
{
    sigset_t signals = bench_run_stop_signals();

    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    run->stop = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->stop >= 0 ? 0 : error_set(&run->error, ERROR_SYSTEM, "%s", strerror(errno));
}

static int bench_run_perform(struct bench_run *run)
{
    int result = bench_run_catch_signals(run);

    if (result == 0)
        result = bench_work_create(&run->work, &run->settings->plan, &run->error);
    if (result == 0)
        result = bench_run_prepare(run);
    if (result == 0 && run->result.prepare.figures.errors > 0)
        result = error_set(&run->error, ERROR_INPUT,
            "%s did not store the content to prepare; it answered %s", run->target.text,
            run->result.prepare.figures.first_error);
    if (result == 0 && !run->result.prepare.figures.stopped)
        result = bench_run_warm_up_and_measure(run);
    return result;
}

static int bench_run_status(int result, const struct bench_result *figures)
{
    if (result == ERROR_SYSTEM)
        return CLI_NO_CONNECTION;
    return result != 0 || figures->measured.figures.errors + figures->warm_up.figures.errors > 0
               ? CLI_FAILED
               : CLI_OK;
}

static void bench_run_report_errors(const char *when, const struct bench_figures *figures)
{
    if (figures->errors > 0)
        (void)fprintf(stderr, "prserv-bench: %" PRIu64 " errors %s, first: %s\n", figures->errors,
            when, figures->first_error);
}

static void bench_run_report(struct bench_run *run, int result)
{
    struct bench_result *figures = &run->result;

    if (figures->prepare.figures.stopped || figures->warm_up.figures.stopped)
        figures->measured.figures.stopped = true;
    figures->failure = result != 0 ? run->error.text : NULL;
    if (run->cli->json)
        bench_report_json(run->settings, figures);
    else if (result == 0 || figures->measured.figures.sent > 0)
        bench_report_text(run->settings, figures);
    if (result != 0)
        (void)fprintf(stderr, "prserv-bench: %s\n", run->error.text);
    bench_run_report_errors("while warming up", &figures->warm_up.figures);
    bench_run_report_errors("while measuring", &figures->measured.figures);
}

int bench_run(const struct cli *cli, const struct bench_settings *settings)
{
    struct bench_run *run = calloc(1, sizeof *run);
    int status;
    int result;

    if (!run) {
        (void)fprintf(stderr, "prserv-bench: out of memory\n");
        return CLI_FAILED;
    }
    run->cli = cli;
    run->settings = settings;
    run->stop = -1;
    process_raise_file_limit();
    result = bench_target_resolve(&run->target, cli->server, (unsigned)(settings->timeout_s * 1000),
        settings->sources, &run->error);
    if (result == ERROR_INPUT) {
        status = cli_usage_error(cli, "%s", run->error.text);
    } else {
        run->result.server = run->target.text;
        result = result == 0 ? bench_run_perform(run) : result;
        bench_run_report(run, result);
        status = bench_run_status(result, &run->result);
    }
    bench_work_free(run->work);
    if (run->stop >= 0)
        (void)close(run->stop);
    free(run);
    return status;
}
