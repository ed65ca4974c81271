/* SPDX-License-Identifier: MIT */
/* What prserv, its commands and prserv-bench share: exit statuses, options and usage errors. */
#ifndef PRSERV_CLI_H
#define PRSERV_CLI_H

#include <stdbool.h>
#include <stddef.h>

enum cli_status {
    CLI_OK = 0,
    CLI_FAILED = 1,        /* the server refused the request, or nothing was found */
    CLI_USAGE = 2,         /* the command line, or a file that it names, can't be used */
    CLI_NO_CONNECTION = 3, /* the server can't be reached, or the connection broke */
};

#define CLI_MAX_SECONDS 86400
#define CLI_CHECK_TIMEOUT_MS 10000 /* for commands that check whether a server answers */

struct cli;

/* A command of prserv, or a program of its own that takes the same shared options. */
struct cli_command {
    const char *name;      /* empty: a program of its own */
    const char *arguments; /* "VERSION PKGARCH CHECKSUM [--history]" */
    const char *summary;   /* one line */
    const char *help;      /* lines about its options; NULL: none */
    unsigned timeout_ms;   /* without --timeout; 0: PRSERV_TIMEOUT_MS */
    /* argv[0] is the command's name. Returns an enum cli_status. */
    int (*run)(struct cli *cli, int argc, char **argv);
};

/* One run of a program. */
struct cli {
    const char *program;               /* "prserv" */
    const struct cli_command *command; /* nameless until the command line has named one */
    const char *server;                /* --server, $PRSERV_HOST or the default; borrowed */
    bool json;                         /* --json: print one JSON value */
    const char *timeout;               /* --timeout as it was given; NULL: not given; borrowed */
    unsigned timeout_ms;               /* for connecting, and for each answer; set by cli_parse */
    const char *tls_ca; /* --tls-ca and so on, or the variables PRSERV_TLS_…; NULL; borrowed */
    const char *tls_certificate;
    const char *tls_key;
};

/* An option of a command: a flag or a value. */
struct cli_option {
    const char *name;
    bool *flag;         /* set to true by the option, or NULL */
    const char **value; /* set to the option's value, or NULL */
};

/* The options and arguments that a command accepts beside --server, --timeout, --json and --help.
 */
struct cli_syntax {
    const struct cli_option *options; /* ends with a name of NULL; NULL: none */
    int min_arguments;
    int max_arguments;
    void (*print_help)(void); /* for a program with commands: options end at the first argument,
                                 which names the command; NULL: not such a program */
};

/* The result of cli_parse. */
struct cli_arguments {
    char **items; /* the arguments that are not options; part of argv */
    int n;
    int status; /* the command's exit status if cli_parse returns false */
};

/* Prepares a run: the default server, and standard input, output and error open. */
void cli_init(struct cli *cli, const char *program);

/* Flushes standard output. Returns the program's exit status: status, or CLI_FAILED if the
 * output could not be written. */
int cli_finish(const struct cli *cli, int status);

/* Reads the options and arguments of a command and stores the options' values. Returns false if
 * the command has to end with arguments->status: the help was printed, or the command line can't
 * be used, which has been reported. */
bool cli_parse(struct cli *cli, int argc, char **argv, const struct cli_syntax *syntax,
    struct cli_arguments *arguments);

/* Reads the value of an option, a number of seconds from min to CLI_MAX_SECONDS with or without
 * decimals. Returns CLI_OK, or CLI_USAGE after reporting it. */
int cli_read_seconds(
    const struct cli *cli, const char *option, const char *text, double min, double *seconds);

/* Reports on standard error why the command failed. Returns status. */
__attribute__((format(printf, 3, 4))) int cli_fail(
    const struct cli *cli, int status, const char *format, ...);

/* Reports on standard error what is wrong with the command line. Returns CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_usage_error(
    const struct cli *cli, const char *format, ...);

void cli_print_version(const struct cli *cli);

/* Reads the options of a program with commands, and runs the command that the first argument names.
 * Returns its exit status, or CLI_USAGE after reporting that there is none. */
int cli_run_command(struct cli *cli, const struct cli_command *const *commands, size_t n_commands,
    void (*print_help)(void), int argc, char **argv);

#endif
