/* One run of prserv bench. */
#ifndef PRSERV_BENCH_RUN_H
#define PRSERV_BENCH_RUN_H

#include "cli/bench_report.h"
#include "cli/cli.h"

/* Runs and reports it. Blocks SIGINT and SIGTERM for the rest of the process: they end the
 * run. Returns an enum cli_status. */
int bench_run(const struct cli *cli, const struct bench_settings *settings);

#endif
