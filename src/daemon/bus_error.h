/* SPDX-License-Identifier: MIT */
/* The signal SIGBUS: memory that belongs to a file can't be read, because the file was cut. */
#ifndef PRSERVD_BUS_ERROR_H
#define PRSERVD_BUS_ERROR_H

#include "base/log.h"

/* From now on SIGBUS writes a CRITICAL line to the log and ends the process with status 1. The log
 * is borrowed until the process ends. */
void bus_error_watch(const struct log *log);

#endif
