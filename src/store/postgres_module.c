/* What the program sees of this backend; and what people may see of a database's name. */
#include "store/postgres.h"

#include "store/store_module.h"

#include <stdio.h>
#include <string.h>

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

void postgres_name(const char *file, char *name, size_t size)
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

__attribute__((visibility("default"))) const struct store_module STORE_MODULE = {
    .name = postgres_name,
    .open = postgres_open,
};
