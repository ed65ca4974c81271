/* SPDX-License-Identifier: MIT */
/* The module's symbol for the program, and the name of a database as people may see it. */
#include "store/postgres/audit.h"

#include "store/store_module.h"

#include <stdio.h>
#include <string.h>

static const char *postgres_module_value_of(const PQconninfoOption *parts, const char *keyword)
{
    for (; parts && parts->keyword; parts++) {
        if (strcmp(parts->keyword, keyword) == 0 && parts->val)
            return parts->val;
    }
    return "";
}

/* Prints host:port,… from the lists host,… and port,…; one port may stand for all hosts. */
static void postgres_module_print_hosts(
    const char *hosts, const char *ports, char *text, size_t size)
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
    const char *user = postgres_module_value_of(parts, "user");
    const char *service = postgres_module_value_of(parts, "service");

    postgres_module_print_hosts(postgres_module_value_of(parts, "host"),
        postgres_module_value_of(parts, "port"), hosts, sizeof hosts);
    (void)snprintf(name, size, "postgresql://%s%s%s/%s%s%s", user, user[0] ? "@" : "", hosts,
        postgres_module_value_of(parts, "dbname"), service[0] ? "?service=" : "", service);
    PQconninfoFree(parts);
}

__attribute__((visibility("default"))) const struct store_module STORE_MODULE = {
    .name = postgres_name,
    .open = postgres_open,
    .verify = postgres_verify,
    .open_audit = postgres_audit_create,
};
