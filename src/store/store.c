/* Which backend a database's name means, and what people may see of the name. */
#include "store/store.h"

#include "store/sqlite.h"
#ifdef PRSERVD_POSTGRESQL
#include "store/postgres.h"
#endif

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* keyword = value: a connection string. A file of such a name is ./keyword=value. */
static bool is_connection_string(const char *file)
{
    size_t length = strspn(file, "abcdefghijklmnopqrstuvwxyz_");

    return length > 0 && file[length + strspn(file + length, " ")] == '=';
}

enum store_kind store_kind_of(const char *file)
{
    if (begins_with(file, "postgresql://") || begins_with(file, "postgres://") ||
        is_connection_string(file))
        return STORE_POSTGRESQL;
    return STORE_SQLITE;
}

#ifdef PRSERVD_POSTGRESQL
static const char *value_of(const PQconninfoOption *parts, const char *keyword)
{
    for (; parts && parts->keyword; parts++) {
        if (strcmp(parts->keyword, keyword) == 0 && parts->val)
            return parts->val;
    }
    return "";
}

/* Lists: host,host and port,port. There may be one port for all. */
static void print_hosts(const char *hosts, const char *ports, char *text, size_t size)
{
    const char *port = ports;
    size_t length = 0;

    text[0] = '\0';
    while (length < size) {
        size_t n_host = strcspn(hosts, ",");
        size_t n_port = strcspn(port, ",");
        bool is_last = hosts[n_host] == '\0';

        length += (size_t)snprintf(text + length, size - length, "%.*s%s%.*s%s", (int)n_host, hosts,
            n_port > 0 ? ":" : "", (int)n_port, port, is_last ? "" : ",");
        if (is_last)
            return;
        hosts += n_host + 1;
        port = strchr(ports, ',') ? port + n_port + (port[n_port] == ',') : ports;
    }
}

static void postgres_name(const char *file, char *name, size_t size)
{
    char hosts[256];
    PQconninfoOption *parts = PQconninfoParse(file, NULL);
    const char *user = value_of(parts, "user");
    const char *service = value_of(parts, "service");

    print_hosts(value_of(parts, "host"), value_of(parts, "port"), hosts, sizeof hosts);
    (void)snprintf(name, size, "postgresql://%s%s%s/%s%s%s", user, user[0] ? "@" : "", hosts,
        value_of(parts, "dbname"), service[0] ? "?service=" : "", service);
    PQconninfoFree(parts);
}
#endif

void store_name(const char *file, char *name, size_t size)
{
#ifdef PRSERVD_POSTGRESQL
    if (store_kind_of(file) == STORE_POSTGRESQL) {
        postgres_name(file, name, size);
        return;
    }
#endif
    (void)snprintf(name, size, "%s", store_kind_of(file) == STORE_SQLITE ? file : "postgresql://");
}

int store_open(struct store **store, const struct store_options *options, enum store_role role,
    struct error *error)
{
    if (store_kind_of(options->file) == STORE_SQLITE)
        return sqlite_open(store, options, role, error);
#ifdef PRSERVD_POSTGRESQL
    return postgres_open(store, options, role, error);
#else
    *store = NULL;
    return error_set(error, ERROR_STORE,
        "this prservd was built without PostgreSQL (-Dpostgresql=disabled): name the file of an "
        "SQLite database");
#endif
}
