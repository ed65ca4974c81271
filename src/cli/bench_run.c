/* prepare → warm up → measure → report. A signal or a failure ends the part under way, and
 * leaves out those after it but the report. */
#include "cli/bench_run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define PREPARE_CONNECTIONS 8 /* at most; preparing is pipelined */
#define PREPARE_PIPELINE 64

struct run {
    const struct cli *cli;
    const struct bench_settings *settings;
    struct bench_target target;
    struct bench_work *work;
    struct bench_result result;
    struct error error;
    int stop; /* a signalfd, or -1 */
};

static uint64_t to_ns(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static struct bench_counts counts_since(
    const struct bench_counts *before, const struct bench_counts *now)
{
    return (struct bench_counts){
        .ping = now->ping - before->ping,
        .test_pr = now->test_pr - before->test_pr,
        .get_known = now->get_known - before->get_known,
        .get_new = now->get_new - before->get_new,
        .import_one = now->import_one - before->import_one,
    };
}

static int run_part(struct run *run, struct bench_load *load, struct bench_phase phase,
    const char *name, struct bench_part *part)
{
    const struct bench_counts before = *bench_work_counts(run->work);
    struct bench_progress progress = {.part = name};
    int result;

    phase.work = run->work;
    if (isatty(STDERR_FILENO)) {
        phase.tick = bench_progress_tick;
        phase.tick_context = &progress;
    }
    result = bench_load_run(load, &phase, &part->figures, &run->error);
    bench_progress_clear(&progress);
    part->counts = counts_since(&before, bench_work_counts(run->work));
    return result;
}

static sigset_t stop_signals(void)
{
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    return signals;
}

/* Connecting blocks, and there are no figures yet: a signal ends the program. */
static int connect_all(
    struct run *run, const struct bench_load_options *options, struct bench_load **load)
{
    sigset_t signals = stop_signals();
    int result;

    (void)sigprocmask(SIG_UNBLOCK, &signals, NULL);
    result = bench_load_new(load, &run->target, options, &run->error);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    return result;
}

static int prepare(struct run *run)
{
    const struct bench_settings *settings = run->settings;
    const struct bench_load_options options = {
        .connections = settings->connections < PREPARE_CONNECTIONS ? settings->connections
                                                                   : PREPARE_CONNECTIONS,
        .depth = PREPARE_PIPELINE,
        .timeout_ms = (unsigned)(settings->timeout_s * 1000),
        .stop = run->stop,
    };
    const struct bench_phase phase = {
        .requests = bench_work_preparations(run->work), .next = bench_work_prepare};
    struct bench_load *load;
    int result;

    if (phase.requests == 0 || settings->prepared)
        return 0;
    result = connect_all(run, &options, &load);
    if (result == 0)
        result = run_part(run, load, phase, "preparing", &run->result.prepare);
    bench_load_free(load);
    return result;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static int measure(struct run *run, struct bench_load *load)
{
    const struct bench_phase phase = {.requests = run->settings->requests,
        .duration_ns = to_ns(run->settings->seconds),
        .next = bench_work_next};
    struct rusage before;
    struct rusage after;
    int result;

    (void)getrusage(RUSAGE_SELF, &before);
    result = run_part(run, load, phase, "measuring", &run->result.measured);
    (void)getrusage(RUSAGE_SELF, &after);
    run->result.user_s = seconds_of(after.ru_utime) - seconds_of(before.ru_utime);
    run->result.system_s = seconds_of(after.ru_stime) - seconds_of(before.ru_stime);
    return result;
}

static int warm_up_and_measure(struct run *run)
{
    const struct bench_settings *settings = run->settings;
    const struct bench_load_options options = {
        .connections = settings->connections,
        .depth = settings->pipeline,
        .reconnect = settings->reconnect,
        .timeout_ms = (unsigned)(settings->timeout_s * 1000),
        .stop = run->stop,
    };
    const struct bench_phase warm_up = {.requests = settings->warm_up_requests,
        .duration_ns = to_ns(settings->warm_up_s),
        .next = bench_work_next};
    struct bench_load *load;
    int result = connect_all(run, &options, &load);

    if (result == 0 && (warm_up.requests > 0 || warm_up.duration_ns > 0))
        result = run_part(run, load, warm_up, "warming up", &run->result.warm_up);
    if (result == 0 && !run->result.warm_up.figures.stopped)
        result = measure(run, load);
    bench_load_free(load);
    return result;
}

/* ---- before and after ---- */

/* SIGINT and SIGTERM end the run with the figures so far. */
static int catch_signals(struct run *run)
{
    sigset_t signals = stop_signals();

    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    run->stop = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->stop >= 0 ? 0 : error_set(&run->error, ERROR_SYSTEM, "%s", strerror(errno));
}

static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int perform(struct run *run)
{
    int result = catch_signals(run);

    if (result == 0)
        result = bench_work_new(&run->work, &run->settings->plan, &run->error);
    if (result == 0)
        result = prepare(run);
    if (result == 0 && run->result.prepare.figures.errors > 0)
        result = error_set(&run->error, ERROR_INPUT, "%s can't be prepared; it answered %s",
            run->target.text, run->result.prepare.figures.first_error);
    if (result == 0 && !run->result.prepare.figures.stopped)
        result = warm_up_and_measure(run);
    return result;
}

static int status_of(int result, const struct bench_result *figures)
{
    if (result == ERROR_SYSTEM)
        return CLI_NO_CONNECTION;
    return result != 0 || figures->measured.figures.errors + figures->warm_up.figures.errors > 0
               ? CLI_NO
               : CLI_DONE;
}

static void name_errors(const char *when, const struct bench_figures *figures)
{
    if (figures->errors > 0)
        (void)fprintf(stderr, "prserv: %" PRIu64 " errors %s, first: %s\n", figures->errors, when,
            figures->first_error);
}

static void report(struct run *run, int result)
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
        (void)fprintf(stderr, "prserv: %s\n", run->error.text);
    name_errors("while it warmed up", &figures->warm_up.figures);
    name_errors("while it was measured", &figures->measured.figures);
}

int bench_run(const struct cli *cli, const struct bench_settings *settings)
{
    struct run *run = calloc(1, sizeof *run);
    int status;
    int result;

    if (!run) {
        (void)fprintf(stderr, "prserv: out of memory\n");
        return CLI_NO;
    }
    run->cli = cli;
    run->settings = settings;
    run->stop = -1;
    raise_file_limit();
    result = bench_target_find(
        &run->target, cli->server, (unsigned)(settings->timeout_s * 1000), &run->error);
    if (result == ERROR_INPUT) {
        status = cli_misused(cli, "%s", run->error.text);
    } else {
        run->result.server = run->target.text;
        result = result == 0 ? perform(run) : result;
        report(run, result);
        status = status_of(result, &run->result);
    }
    bench_work_free(run->work);
    if (run->stop >= 0)
        (void)close(run->stop);
    free(run);
    return status;
}
