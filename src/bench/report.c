/* SPDX-License-Identifier: MIT */
#include "bench/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define NS_IN_S 1e9
#define NS_IN_US 1e3

static const char terms[] =
    "Each connection sends its next request when an answer has arrived (a closed loop). While a\n"
    "server stalls it therefore receives fewer requests, and the latencies are those of the\n"
    "requests that were sent, not of clients that arrive at a steady rate.\n"
    "\n"
    "throughput  answers divided by the time from the first request to the last answer\n"
    "latency     time from making a request to reading its answer; includes waiting behind\n"
    "            other requests on the connection (pipeline) and for this client, and with\n"
    "            --reconnect also connecting. p99 3 ms: 99 of 100 took at most 3 ms (within 4 %)\n"
    "errors      answers that are an invoke-error, null, or unknown to the protocol\n"
    "retries     connections that were refused or broke and were retried (--reconnect)\n"
    "client CPU  time used by this program; near 100 %, it limits the figures\n";

static double bench_report_per_second(const struct bench_figures *figures)
{
    return figures->elapsed_ns > 0
               ? (double)figures->answers * NS_IN_S / (double)figures->elapsed_ns
               : 0;
}

static double bench_report_percentile_us(const struct bench_figures *figures, double part)
{
    return (double)histogram_percentile(&figures->latency_ns, part) / NS_IN_US;
}

static double bench_report_cpu_us(const struct bench_result *result)
{
    uint64_t answers = result->measured.figures.answers;

    return answers > 0 ? (result->user_s + result->system_s) * 1e6 / (double)answers : 0;
}

/* ---- for people ---- */

static void bench_report_print_latency(const char *name, double us)
{
    if (us < 1000)
        (void)printf("  %-6s %9.1f us\n", name, us);
    else if (us < 1e6)
        (void)printf("  %-6s %9.2f ms\n", name, us / 1e3);
    else
        (void)printf("  %-6s %9.2f s\n", name, us / 1e6);
}

static void bench_report_print_settings(const struct bench_settings *settings, const char *server)
{
    const struct bench_plan *plan = &settings->plan;

    (void)printf("server      %s\n", server);
    (void)printf("work        %s%s\n", bench_kinds[plan->kind].description,
        plan->history ? ", history" : "");
    (void)printf("load        %u connection%s, %s\n", settings->connections,
        settings->connections > 1 ? "s" : "",
        settings->reconnect ? "a new one for each request" : "kept open");
    if (!settings->reconnect)
        (void)printf("pipeline    %u in progress on each connection\n", settings->pipeline);
    if (plan->kind != BENCH_PING)
        (void)printf("content     %u packages, %u checksums stored for each%s, seed %" PRIu64 "\n",
            plan->packages, plan->checksums, plan->kind == BENCH_MIX ? " AUTOINC package" : "",
            plan->seed);
}

static void bench_report_print_part(const char *name, const struct bench_figures *figures)
{
    if (figures->sent > 0)
        (void)printf("%-11s %" PRIu64 " requests in %.2f s, not measured\n", name, figures->sent,
            (double)figures->elapsed_ns / NS_IN_S);
}

static void bench_report_print_counts(const struct bench_counts *counts)
{
    const struct {
        const char *name;
        uint64_t count;
    } kinds[] = {
        {"ping", counts->ping},
        {"test-pr", counts->test_pr},
        {"get-pr of known content", counts->get_known},
        {"get-pr of new content", counts->get_new},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].count > 0)
            (void)printf("            %" PRIu64 " %s\n", kinds[i].count, kinds[i].name);
    }
}

static void bench_report_print_latencies(const struct bench_figures *figures)
{
    (void)printf("latency\n");
    bench_report_print_latency("p50", bench_report_percentile_us(figures, 0.5));
    bench_report_print_latency("p90", bench_report_percentile_us(figures, 0.9));
    bench_report_print_latency("p99", bench_report_percentile_us(figures, 0.99));
    bench_report_print_latency("p99.9", bench_report_percentile_us(figures, 0.999));
    bench_report_print_latency("max", (double)figures->latency_ns.largest / NS_IN_US);
}

void bench_report_text(const struct bench_settings *settings, const struct bench_result *result)
{
    const struct bench_figures *figures = &result->measured.figures;
    double elapsed_s = (double)figures->elapsed_ns / NS_IN_S;

    bench_report_print_settings(settings, result->server);
    bench_report_print_part("prepared", &result->prepare.figures);
    bench_report_print_part("warm-up", &result->warm_up.figures);
    (void)printf("\nrequests    %" PRIu64 " in %.2f s%s\n", figures->sent, elapsed_s,
        result->failure    ? ", ended early"
        : figures->stopped ? ", interrupted"
                           : "");
    bench_report_print_counts(&result->measured.counts);
    if (figures->sent > figures->answers)
        (void)printf("unanswered  %" PRIu64 "\n", figures->sent - figures->answers);
    (void)printf("throughput  %.0f requests/s\n", bench_report_per_second(figures));
    bench_report_print_latencies(figures);
    (void)printf("errors      %" PRIu64 "\n", figures->errors);
    if (settings->reconnect)
        (void)printf("retries     %" PRIu64 "\n", figures->retries);
    (void)printf("client CPU  %.2f s user, %.2f s system: %.2f us a request, %.0f %% of the time\n",
        result->user_s, result->system_s, bench_report_cpu_us(result),
        elapsed_s > 0 ? (result->user_s + result->system_s) * 100 / elapsed_s : 0);
    (void)printf("\n%s", terms);
}

/* ---- for programs ---- */

/* Returns the count as JSON, or null for 0, which means no limit. */
static json_t *bench_report_count_or_null(uint64_t count)
{
    return count > 0 ? json_integer((json_int_t)count) : json_null();
}

static json_t *bench_report_settings_json(const struct bench_settings *settings)
{
    const struct bench_plan *plan = &settings->plan;

    return json_pack("{s:s, s:b, s:i, s:i, s:i, s:b, s:b, s:o, s:o, s:f, s:I, s:i, s:i, s:I, s:f}",
        "work", bench_kinds[plan->kind].name, "history", plan->history, "connections",
        (int)settings->connections, "pipeline", (int)settings->pipeline, "source_addresses",
        (int)settings->sources, "reconnect", settings->reconnect, "prepared", settings->prepared,
        "requests", bench_report_count_or_null(settings->requests), "seconds",
        settings->seconds > 0 ? json_real(settings->seconds) : json_null(), "warm_up_s",
        settings->warm_up_s, "warm_up_requests", (json_int_t)settings->warm_up_requests, "packages",
        (int)plan->packages, "checksums", (int)plan->checksums, "seed", (json_int_t)plan->seed,
        "timeout_s", settings->timeout_s);
}

static json_t *bench_report_part_json(const struct bench_part *part)
{
    const struct bench_figures *figures = &part->figures;
    const struct bench_counts *counts = &part->counts;

    return json_pack("{s:I, s:I, s:f, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:I, s:I}", "sent",
        (json_int_t)figures->sent, "answers", (json_int_t)figures->answers, "elapsed_s",
        (double)figures->elapsed_ns / NS_IN_S, "errors", (json_int_t)figures->errors, "retries",
        (json_int_t)figures->retries, "requests", "ping", (json_int_t)counts->ping, "test-pr",
        (json_int_t)counts->test_pr, "get-pr",
        (json_int_t)counts->get_known + (json_int_t)counts->get_new, "import-one",
        (json_int_t)counts->import_one, "known_content",
        (json_int_t)counts->get_known + (json_int_t)counts->test_pr, "new_content",
        (json_int_t)counts->get_new);
}

static json_t *bench_report_latency_json(const struct bench_figures *figures)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "p50", bench_report_percentile_us(figures, 0.5),
        "p90", bench_report_percentile_us(figures, 0.9), "p99",
        bench_report_percentile_us(figures, 0.99), "p99.9",
        bench_report_percentile_us(figures, 0.999), "max",
        (double)figures->latency_ns.largest / NS_IN_US);
}

void bench_report_json(const struct bench_settings *settings, const struct bench_result *result)
{
    const struct bench_figures *figures = &result->measured.figures;
    const struct bench_figures *warm_up = &result->warm_up.figures;
    const char *first_error = warm_up->errors > 0   ? warm_up->first_error
                              : figures->errors > 0 ? figures->first_error
                                                    : NULL;
    json_t *report =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:f, s:o, s:{s:f, s:f, s:f}, s:b, s:s?, s:s?}",
            "server", result->server, "parameters", bench_report_settings_json(settings),
            "prepared", bench_report_part_json(&result->prepare), "warm_up",
            bench_report_part_json(&result->warm_up), "measured",
            bench_report_part_json(&result->measured), "requests_per_second",
            bench_report_per_second(figures), "latency_us", bench_report_latency_json(figures),
            "client_cpu", "user_s", result->user_s, "system_s", result->system_s, "us_per_request",
            bench_report_cpu_us(result), "interrupted", figures->stopped, "first_error",
            first_error, "failure", result->failure);

    (void)json_dumpf(report, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    (void)putchar('\n');
    json_decref(report);
}

/* ---- while it runs ---- */

#define CLEAR_LINE "\r\033[K"

void bench_progress_tick(void *context, uint64_t elapsed_ns, uint64_t answers)
{
    struct bench_progress *progress = context;
    double elapsed_s = (double)elapsed_ns / NS_IN_S;

    progress->shown = true;
    (void)fprintf(stderr, CLEAR_LINE "%s: %.1f s, %" PRIu64 " answers, %.0f/s", progress->part,
        elapsed_s, answers, elapsed_s > 0 ? (double)answers / elapsed_s : 0);
    (void)fflush(stderr);
}

void bench_progress_clear(const struct bench_progress *progress)
{
    if (progress->shown)
        (void)fputs(CLEAR_LINE, stderr);
}
