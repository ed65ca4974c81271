/* What the commands of prserv share: options, the server, errors, exit statuses. */
#ifndef PRSERV_CLI_H
#define PRSERV_CLI_H

#include "client/prserv.h"

#include <stdbool.h>

enum cli_status {
    CLI_DONE = 0,
    CLI_NO = 1,            /* the server said no, or nothing was found */
    CLI_USAGE = 2,         /* the command line can't be used */
    CLI_NO_CONNECTION = 3, /* or it broke */
};

#define CLI_TIMEOUT_MS 30000

struct cli;

struct cli_command {
    const char *name;
    const char *arguments; /* "VERSION PKGARCH CHECKSUM [--history]" */
    const char *summary;   /* one line */
    const char *help;      /* its options and what else is to be said, lines; or NULL */
    /* argv[0] is the command's name. Returns an enum cli_status. */
    int (*run)(struct cli *cli, int argc, char **argv);
};

/* One run of prserv. */
struct cli {
    const struct cli_command *command;
    const char *server; /* --server, $PRSERV_HOST or the default */
    bool json;          /* --json: one JSON value on standard output */
};

/* An option of a command: a flag or a value. --server, --json and --help are every
 * command's, and need no entry. */
struct cli_option {
    const char *name;
    bool *flag;         /* set if it is given, or NULL */
    const char **value; /* set to what is given, or NULL */
};

/* Reads a command's options and words. options ends with a name of NULL. Returns true, and
 * in *words what is no option (n_words between least and most); or false, and *status is
 * what the command has to return at once. */
bool cli_parse(struct cli *cli, int argc, char **argv, const struct cli_option *options, int least,
    int most, char ***words, int *n_words, int *status);

/* Says on standard error what is wrong with the command line. Returns CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_misused(
    const struct cli *cli, const char *format, ...);

/* Says on standard error what failed. Returns the status that fits the error. */
int cli_failed(const struct prserv_error *error);

/* Connects to cli->server, or says why not: CLI_DONE or another status. */
int cli_connect(const struct cli *cli, struct prserv **server);

/* All commands; ends with a name of NULL. */
extern const struct cli_command *const cli_commands[];

#endif
