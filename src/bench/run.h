/* SPDX-License-Identifier: MIT */
/* One run of prserv-bench. */
#ifndef PRSERV_RUN_H
#define PRSERV_RUN_H

#include "bench/report.h"
#include "cli/cli.h"

/* Runs the benchmark and prints the report. SIGINT and SIGTERM end the run; they stay blocked
 * afterwards. Returns an enum cli_status. */
int bench_run(const struct cli *cli, const struct bench_settings *settings);

#endif
