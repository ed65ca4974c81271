/* SPDX-License-Identifier: MIT */
/* The reports of the audit log, as the HTTP interface asks for them (server/reports.h). One thread
 * at a time. */
#ifndef PRSERVD_AUDIT_REPORTS_H
#define PRSERVD_AUDIT_REPORTS_H

#include "server/reports.h"
#include "store/store.h"

struct audit_reports;

/* Prepares connections of its own, which are opened when they are used. The options are those of a
 * reader; what they point to is borrowed. *created is the caller's. Fails with ERROR_MEMORY or
 * ERROR_STORE. */
ERROR_MUST_CHECK int audit_reports_create(
    struct audit_reports **created, const struct store_options *options, struct error *error);

/* Returns the functions, which are valid until audit_reports_free. */
const struct reports *audit_reports_functions(const struct audit_reports *reports);

/* NULL is allowed. */
void audit_reports_free(struct audit_reports *reports);

#endif
