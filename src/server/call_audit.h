/* SPDX-License-Identifier: MIT */
/* Notes calls for the audit log. */
#ifndef PRSERVD_CALL_AUDIT_H
#define PRSERVD_CALL_AUDIT_H

struct call;

/* Notes a call that has been carried out: the row that was stored for it, or that its content was
 * asked for. There is an audit log. Not for the pieces of an export. */
void call_audit(const struct call *call);

#endif
