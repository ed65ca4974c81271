/* SPDX-License-Identifier: MIT */
/* The hosts of a connection string. libpq takes the first host that says what it is asked for
 * (target_session_attrs); if that one turns out to be of no use, the next attempt is made without
 * it. The lists are libpq's: elements with commas between them, a port for each host or one for
 * all. */
#include "store/postgres/postgres.h"

#include <stdlib.h>
#include <string.h>

#define CONNECT_S "3"            /* for each host */
#define UNACKNOWLEDGED_MS "8000" /* TCP: the longest wait for an acknowledgement */

/* Later parameters win: conninfo over our defaults, and those behind it over conninfo; but not if
 * they are NULL. */
static PGconn *postgres_hosts_connect_with(
    PGconn *(*connect)(const char *const *names, const char *const *values, int expand),
    const struct postgres_hosts *hosts, const char *conninfo, const char *target)
{
    static const char *const names[] = {"connect_timeout", "tcp_user_timeout", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "gssencmode", "fallback_application_name",
        "dbname", "client_encoding", "target_session_attrs", "host", "hostaddr", "port", NULL};
    const char *values[] = {CONNECT_S, UNACKNOWLEDGED_MS, "5", "2", "2", "disable", "prservd",
        conninfo, "UTF8", target, hosts->hosts, hosts->addresses, hosts->ports, NULL};

    return connect(names, values, 1);
}

PGconn *postgres_hosts_connect(
    const struct postgres_hosts *hosts, const char *conninfo, const char *target)
{
    return postgres_hosts_connect_with(PQconnectdbParams, hosts, conninfo, target);
}

PGconn *postgres_hosts_begin_connecting(
    const struct postgres_hosts *hosts, const char *conninfo, const char *target)
{
    return postgres_hosts_connect_with(PQconnectStartParams, hosts, conninfo, target);
}

void postgres_hosts_free(struct postgres_hosts *hosts)
{
    free(hosts->hosts);
    free(hosts->addresses);
    free(hosts->ports);
    *hosts = (struct postgres_hosts){.hosts = NULL};
}

static char *postgres_hosts_copy(const char *text)
{
    return text && text[0] ? strdup(text) : NULL;
}

void postgres_hosts_of(struct postgres_hosts *hosts, const PGconn *connection)
{
    postgres_hosts_free(hosts);
    hosts->hosts = postgres_hosts_copy(PQhost(connection));
    hosts->ports = postgres_hosts_copy(PQport(connection));
    hosts->addresses = postgres_hosts_copy(PQhostaddr(connection));
}

/* ---- leaving a host out ---- */

/* Returns an element of a list; NULL if the list is shorter. */
static const char *postgres_hosts_element(const char *list, size_t at, size_t *length)
{
    for (; list && at > 0; at--) {
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    *length = list ? strcspn(list, ",") : 0;
    return list;
}

/* Returns whether an element of a list is the text; a missing or empty one may be any text. */
static bool postgres_hosts_may_be(const char *list, size_t at, const char *text)
{
    size_t length;
    const char *element = postgres_hosts_element(list, at, &length);

    return length == 0 || (length == strlen(text) && strncmp(element, text, length) == 0);
}

/* Returns a copy of a list without one of its elements; NULL without a list. */
static char *postgres_hosts_copy_without(const char *list, size_t at)
{
    char *copy = postgres_hosts_copy(list);
    size_t length;
    char *element = copy ? copy + (postgres_hosts_element(copy, at, &length) - copy) : NULL;

    if (element && element[length] == ',')
        memmove(element, element + length + 1, strlen(element + length + 1) + 1);
    else if (element)
        element[element > copy ? -1 : 0] = '\0';
    return copy;
}

static const char *postgres_hosts_value(const PQconninfoOption *values, const char *keyword)
{
    for (; values && values->keyword; values++) {
        if (strcmp(values->keyword, keyword) == 0)
            return values->val;
    }
    return NULL;
}

bool postgres_hosts_leave_out(struct postgres_hosts *hosts, PGconn *connection)
{
    PQconninfoOption *values = PQconninfo(connection);
    const char *names = postgres_hosts_value(values, "host");
    const char *addresses = postgres_hosts_value(values, "hostaddr");
    const char *ports = postgres_hosts_value(values, "port");
    const bool has_ports = ports && strchr(ports, ',');
    const char *list = names && names[0] ? names : addresses;
    size_t length;
    size_t at = 0;

    while (postgres_hosts_element(list, at, &length) &&
           !(postgres_hosts_may_be(names, at, PQhost(connection)) &&
               postgres_hosts_may_be(addresses, at, PQhostaddr(connection)) &&
               postgres_hosts_may_be(has_ports ? ports : NULL, at, PQport(connection))))
        at++;
    postgres_hosts_free(hosts);
    if (list && strchr(list, ',') && postgres_hosts_element(list, at, &length)) {
        hosts->hosts = postgres_hosts_copy_without(names, at);
        hosts->addresses = postgres_hosts_copy_without(addresses, at);
        hosts->ports =
            has_ports ? postgres_hosts_copy_without(ports, at) : postgres_hosts_copy(ports);
    }
    PQconninfoFree(values);
    return hosts->hosts || hosts->addresses;
}
