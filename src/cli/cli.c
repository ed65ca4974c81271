#include "cli/cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MOST_OPTIONS 24

int cli_misused(const struct cli *cli, const char *format, ...)
{
    const char *name = cli->command ? cli->command->name : NULL;
    va_list arguments;

    (void)fprintf(stderr, "prserv%s%s: ", name ? " " : "", name ? name : "");
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "; see prserv%s%s --help\n", name ? " " : "", name ? name : "");
    return CLI_USAGE;
}

int cli_failed(const struct prserv_error *error)
{
    (void)fprintf(stderr, "prserv: %s\n", error->text);
    switch (error->code) {
    case PRSERV_ERROR_ARGUMENT:
        return CLI_USAGE;
    case PRSERV_ERROR_REFUSED:
    case PRSERV_ERROR_MEMORY:
    case PRSERV_ERROR_STOPPED:
        return CLI_NO;
    default:
        return CLI_NO_CONNECTION;
    }
}

int cli_connect(const struct cli *cli, struct prserv **server)
{
    struct prserv_error error;

    if (prserv_connect(server, cli->server, CLI_TIMEOUT_MS, &error) == 0)
        return CLI_DONE;
    return cli_failed(&error);
}

static int print_help(const struct cli_command *command)
{
    (void)printf("Usage: prserv [--server ADDRESS] [--json] %s %s\n%s\n", command->name,
        command->arguments, command->summary);
    if (command->help)
        (void)printf("\n%s", command->help);
    return CLI_DONE;
}

/* The command's options and everybody's, for getopt_long; val is the index, from 1. */
static void make_long_options(const struct cli_option *options, struct option *long_options)
{
    int i = 0;

    for (; options[i].name; i++)
        long_options[i] = (struct option){.name = options[i].name,
            .has_arg = options[i].value ? required_argument : no_argument,
            .val = i + 1};
    long_options[i] = (struct option){.name = NULL};
}

static int count(const struct cli_option *options)
{
    int n = 0;

    while (options[n].name)
        n++;
    return n;
}

/* optopt is the letter of a short option, 0 for a long one that there is not, and the
 * index of one with too much or too little. */
static int refuse_option(const struct cli *cli, int found, const char *given)
{
    if (found == ':')
        return cli_misused(cli, "the option %s needs a value", given);
    if (optopt > MOST_OPTIONS)
        return cli_misused(cli, "unknown option -%c", optopt >= ' ' && optopt < 127 ? optopt : '?');
    return cli_misused(
        cli, optopt > 0 ? "the option takes no value: %s" : "unknown option %s", given);
}

bool cli_parse(struct cli *cli, int argc, char **argv, const struct cli_option *options, int least,
    int most, char ***words, int *n_words, int *status)
{
    bool help = false;
    const struct cli_option shared[] = {
        {"server", NULL, &cli->server},
        {"json", &cli->json, NULL},
        {"help", &help, NULL},
        {NULL, NULL, NULL},
    };
    struct cli_option all[MOST_OPTIONS];
    struct option long_options[MOST_OPTIONS];
    int n = count(options);
    int found;

    memcpy(all, options, (size_t)n * sizeof *all);
    memcpy(all + n, shared, sizeof shared);
    make_long_options(all, long_options);
    opterr = 0;
    optind = 1;
    while ((found = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        if (found == ':' || found == '?') {
            *status = refuse_option(cli, found, argv[optind - 1]);
            return false;
        }
        if (found == 'h')
            help = true;
        else if (all[found - 1].flag)
            *all[found - 1].flag = true;
        else
            *all[found - 1].value = optarg;
    }
    *words = argv + optind;
    *n_words = argc - optind;
    *status = CLI_DONE;
    if (help)
        *status = print_help(cli->command);
    else if (*n_words < least || *n_words > most)
        *status = cli_misused(cli, "wrong number of arguments: %s", cli->command->arguments);
    return !help && *status == CLI_DONE;
}
