/* SPDX-License-Identifier: MIT */
/* prservd --stop: ends the server that holds a pid file. */
#ifndef PRSERVD_STOP_H
#define PRSERVD_STOP_H

#include <stdbool.h>

/* Ends the server and waits until it is gone. Removes the file of a server that has ended without
 * doing so. Reports on standard error; lists_others: names the servers that run instead, if the
 * file does not exist. Returns the exit status. */
int stop_server(const char *path, bool lists_others);

#endif
