/* SPDX-License-Identifier: MIT */
/* The commands of prserv. */
#ifndef PRSERV_COMMANDS_H
#define PRSERV_COMMANDS_H

#include "cli/cli.h"

extern const struct cli_command command_ping; /* ask.c */
extern const struct cli_command command_get;
extern const struct cli_command command_test;
extern const struct cli_command command_max;
extern const struct cli_command command_export;
extern const struct cli_command command_import;
extern const struct cli_command command_diff;
extern const struct cli_command command_floor;
extern const struct cli_command command_migrate; /* migrate/migrate.c */
extern const struct cli_command command_verify;  /* verify/verify.c */
extern const struct cli_command command_log;
extern const struct cli_command command_why;
extern const struct cli_command command_churn;
extern const struct cli_command command_status;
extern const struct cli_command command_feed; /* subprogram.c, as is the next */
extern const struct cli_command command_bench;

#endif
