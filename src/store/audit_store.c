/* SPDX-License-Identifier: MIT */
/* The names of what the audit log holds. */
#include "store/audit_store.h"

const char *audit_request_name(enum audit_request request)
{
    static const char *const names[AUDIT_REQUESTS] = {
        [AUDIT_GET_PR] = "get-pr",
        [AUDIT_IMPORT_ONE] = "import-one",
        [AUDIT_TAKEOVER] = "takeover",
        [AUDIT_FLOOR] = "floor",
    };

    return names[request];
}
