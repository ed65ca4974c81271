/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include "base/process.h"
#include "client/prserv.h"
#include "commit.h"
#include "version.h"

#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPTIONS 24
#define DEFAULT_SERVER "127.0.0.1:8585"

/* ---- a run ---- */

void cli_init(struct cli *cli, const char *program)
{
    static const struct cli_command no_command = {.name = ""};
    const char *host = getenv("PRSERV_HOST");

    *cli = (struct cli){.program = program,
        .command = &no_command,
        .server = host && host[0] ? host : DEFAULT_SERVER};
    process_open_standard_files();
}

int cli_finish(const struct cli *cli, int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    (void)fprintf(stderr, "%s: ", cli->program);
    perror("standard output");
    return status == CLI_OK ? CLI_FAILED : status;
}

void cli_print_version(const struct cli *cli)
{
    (void)printf("%s %s\n", cli->program, PRSERVD_VERSION PRSERVD_COMMIT);
}

/* Prints a message on standard error, after the names of the program and the command. */
static void cli_print_message(const struct cli *cli, const char *format, va_list arguments)
{
    const char *name = cli->command->name;

    (void)fprintf(stderr, "%s%s%s: ", cli->program, name[0] ? " " : "", name);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): both callers have started it */
    (void)vfprintf(stderr, format, arguments);
}

int cli_fail(const struct cli *cli, int status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    cli_print_message(cli, format, arguments);
    va_end(arguments);
    (void)fputs("\n", stderr);
    return status;
}

int cli_usage_error(const struct cli *cli, const char *format, ...)
{
    const char *name = cli->command->name;
    va_list arguments;

    va_start(arguments, format);
    cli_print_message(cli, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "; see %s%s%s --help\n", cli->program, name[0] ? " " : "", name);
    return CLI_USAGE;
}

/* ---- options ---- */

static void cli_print_help(const struct cli *cli)
{
    const char *name = cli->command->name;
    const char *arguments = cli->command->arguments;

    (void)printf("Usage: %s [--server ADDRESS] [--timeout SECONDS] [--json]%s%s%s%s\n%s\n",
        cli->program, name[0] ? " " : "", name, arguments[0] ? " " : "", arguments,
        cli->command->summary);
    if (cli->command->help)
        (void)printf("\n%s", cli->command->help);
}

/* Translates options for getopt_long, which then returns an option's index plus one. Returns the
 * number of options. */
static int cli_make_long_options(const struct cli_option *options, struct option *long_options)
{
    int n = 0;

    for (; options[n].name; n++)
        long_options[n] = (struct option){.name = options[n].name,
            .has_arg = options[n].value ? required_argument : no_argument,
            .val = n + 1};
    long_options[n] = (struct option){.name = NULL};
    return n;
}

/* Appends a list of options with its end. Returns the number of options. */
static size_t cli_append_options(
    struct cli_option *options, size_t n, const struct cli_option *more)
{
    while (more && more->name)
        options[n++] = *more++;
    options[n].name = NULL;
    return n;
}

/* Reports the option that getopt_long has refused. optopt is the letter of a short option, 0 for
 * an unknown long one, and the val of a long one with an unexpected value. */
static int cli_refuse_option(const struct cli *cli, int found, const char *given)
{
    if (found == ':')
        return cli_usage_error(cli, "the option %s needs a value", given);
    if (optopt > MAX_OPTIONS)
        return cli_usage_error(
            cli, "unknown option -%c", optopt >= ' ' && optopt < 127 ? optopt : '?');
    return cli_usage_error(
        cli, optopt > 0 ? "the option takes no value: %s" : "unknown option %s", given);
}

/* Reads the options, of which --help is the last. Permutes argv so that arguments come last, or
 * stops at the first argument if letters begins with a plus. Returns CLI_OK or CLI_USAGE. */
static int cli_read_options(const struct cli *cli, int argc, char **argv, const char *letters,
    const struct cli_option *options)
{
    struct option long_options[MAX_OPTIONS];
    const int n = cli_make_long_options(options, long_options);
    int found;

    opterr = 0;
    optind = 0; /* resets getopt after an earlier call */
    while ((found = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
        const struct cli_option *option;

        if (found == ':' || found == '?')
            return cli_refuse_option(cli, found, argv[optind - 1]);
        option = &options[found == 'h' ? n - 1 : found - 1];
        if (option->flag)
            *option->flag = true;
        else
            *option->value = optarg;
    }
    return CLI_OK;
}

int cli_read_seconds(
    const struct cli *cli, const char *option, const char *text, double min, double *seconds)
{
    char *end;

    *seconds = strtod(text, &end);
    if (text[0] >= '0' && text[0] <= '9' && !*end && *seconds >= min && *seconds <= CLI_MAX_SECONDS)
        return CLI_OK;
    return cli_usage_error(
        cli, "--%s takes seconds, from %g to %d, not '%s'", option, min, CLI_MAX_SECONDS, text);
}

static int cli_read_timeout(struct cli *cli)
{
    const unsigned usual_ms = cli->command->timeout_ms;
    double seconds = 0;
    int status = CLI_OK;

    cli->timeout_ms = usual_ms > 0 ? usual_ms : PRSERV_TIMEOUT_MS;
    if (cli->timeout)
        status = cli_read_seconds(cli, "timeout", cli->timeout, 0.001, &seconds);
    if (cli->timeout && status == CLI_OK)
        cli->timeout_ms = (unsigned)(seconds * 1000);
    return status;
}

bool cli_parse(struct cli *cli, int argc, char **argv, const struct cli_syntax *syntax,
    struct cli_arguments *arguments)
{
    bool help = false;
    const struct cli_option shared[] = {
        {"server", NULL, &cli->server},
        {"timeout", NULL, &cli->timeout},
        {"json", &cli->json, NULL},
        {"tls-ca", NULL, &cli->tls_ca},
        {"tls-cert", NULL, &cli->tls_certificate},
        {"tls-key", NULL, &cli->tls_key},
        {"help", &help, NULL},
        {NULL, NULL, NULL},
    };
    struct cli_option options[MAX_OPTIONS];
    const size_t n = cli_append_options(options, 0, syntax->options);

    (void)cli_append_options(options, n, shared);
    arguments->status =
        cli_read_options(cli, argc, argv, syntax->print_help ? "+:h" : ":h", options);
    arguments->items = argv + optind;
    arguments->n = argc - optind;
    if (arguments->status != CLI_OK)
        return false;
    if (help && syntax->print_help)
        syntax->print_help();
    else if (help)
        cli_print_help(cli);
    if (help)
        return false;
    arguments->status = cli_read_timeout(cli);
    if (arguments->status != CLI_OK)
        return false;
    if (arguments->n < syntax->min_arguments || arguments->n > syntax->max_arguments)
        arguments->status =
            cli_usage_error(cli, "wrong number of arguments: %s", cli->command->arguments);
    return arguments->status == CLI_OK;
}

/* ---- commands ---- */

int cli_run_command(struct cli *cli, const struct cli_command *const *commands, size_t n_commands,
    void (*print_help)(void), int argc, char **argv)
{
    bool version = false;
    const struct cli_option options[] = {{"version", &version, NULL}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {
        .options = options, .max_arguments = INT_MAX, .print_help = print_help};
    struct cli_arguments arguments;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    if (version) {
        cli_print_version(cli);
        return CLI_OK;
    }
    if (arguments.n == 0)
        return cli_usage_error(cli, "no command was given");
    for (size_t i = 0; i < n_commands; i++) {
        if (strcmp(commands[i]->name, arguments.items[0]) == 0) {
            cli->command = commands[i];
            return cli->command->run(cli, arguments.n, arguments.items);
        }
    }
    return cli_usage_error(cli, "unknown command '%s'", arguments.items[0]);
}
