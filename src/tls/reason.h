/* SPDX-License-Identifier: MIT */
/* Why TLS fails, in sentences about the other side ("it") and this one ("our"). */
#ifndef PRSERVD_TLS_REASON_H
#define PRSERVD_TLS_REASON_H

#include "base/error.h"

/* Describes a certificate that the check refuses. why: the library's X509_V_ERR_ code; host: the
 * server's name, or "" in a server. */
void tls_describe_certificate(long why, const char *host, struct error *error);

/* Describes the library's last failure: an SSL_R_ code in its queue of errors. host: as above. */
void tls_describe_last_failure(const char *host, struct error *error);

#endif
