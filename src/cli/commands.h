/* The commands of prserv, a file for each kind. */
#ifndef PRSERV_COMMANDS_H
#define PRSERV_COMMANDS_H

#include "cli/cli.h"

extern const struct cli_command command_ping; /* ask.c */
extern const struct cli_command command_get;
extern const struct cli_command command_test;
extern const struct cli_command command_max;
extern const struct cli_command command_export;  /* export.c */
extern const struct cli_command command_import;  /* import.c */
extern const struct cli_command command_diff;    /* diff.c */
extern const struct cli_command command_migrate; /* migrate.c */
extern const struct cli_command command_status;  /* status.c */
extern const struct cli_command command_bench;   /* bench.c */

#endif
