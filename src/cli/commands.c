#include "cli/commands.h"

const struct cli_command *const cli_commands[] = {
    &command_ping,
    &command_get,
    &command_test,
    &command_max,
    &command_export,
    &command_import,
    &command_diff,
    &command_migrate,
    &command_status,
    &command_bench,
    NULL,
};
