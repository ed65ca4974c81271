/* SPDX-License-Identifier: MIT */
/* Clients of BitBake 1.50 and older, which speak XML-RPC over HTTP: they are recognised by their
 * first line, and told that they are too old in a form that they show to the user. */
#ifndef PRSERVD_XML_RPC_H
#define PRSERVD_XML_RPC_H

#include "base/buffer.h"
#include "base/text.h"

#include <stdbool.h>

/* Returns whether the first line of a connection is that of such a client. */
bool xml_rpc_is_request(struct text line);

/* Appends an answer over HTTP, the fault that says so. */
void xml_rpc_write_fault(struct buffer *out);

#endif
