/* SPDX-License-Identifier: MIT */
#include "cli/connect.h"

#include "base/address.h"

#include <stdio.h>
#include <stdlib.h>

int cli_report_error(const struct prserv_error *error)
{
    (void)fprintf(stderr, "prserv: %s\n", error->text);
    switch (error->code) {
    case PRSERV_ERROR_ARGUMENT:
        return CLI_USAGE;
    case PRSERV_ERROR_REFUSED:
    case PRSERV_ERROR_MEMORY:
    case PRSERV_ERROR_STOPPED:
        return CLI_FAILED;
    default:
        return CLI_NO_CONNECTION;
    }
}

/* Checks the address before libprserv does: here it is known where it comes from. */
static int cli_check_address(const struct cli *cli)
{
    const char *host = getenv("PRSERV_HOST");
    const char *label = cli->server == host ? "PRSERV_HOST" : "--server";
    struct address address;
    struct error error;

    if (address_parse(&address, cli->server, &error) != 0)
        return cli_fail(cli, CLI_USAGE, "%s: %s", label, error.text);
    if (!address.is_unix && address.port == 0)
        return cli_fail(cli, CLI_USAGE,
            "%s: port 0 means the server that BitBake starts itself; name one that runs all the "
            "time, such as localhost:8585",
            cli->server);
    return CLI_OK;
}

int cli_connect(const struct cli *cli, struct prserv **server)
{
    const struct prserv_tls tls = {
        .ca = cli->tls_ca, .certificate = cli->tls_certificate, .key = cli->tls_key};
    struct prserv_error error;

    if (cli_check_address(cli) != CLI_OK)
        return CLI_USAGE;
    if (prserv_connect_tls(server, cli->server, &tls, cli->timeout_ms, &error) == 0)
        return CLI_OK;
    return cli_report_error(&error);
}
