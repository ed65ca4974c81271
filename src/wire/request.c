/* SPDX-License-Identifier: MIT */
#include "wire/request.h"

const char *const request_names[REQUEST_KINDS] = {
    [REQUEST_PING] = "ping",
    [REQUEST_GET_PR] = "get-pr",
    [REQUEST_TEST_PR] = "test-pr",
    [REQUEST_TEST_PACKAGE] = "test-package",
    [REQUEST_MAX_PACKAGE_PR] = "max-package-pr",
    [REQUEST_IMPORT_ONE] = "import-one",
    [REQUEST_EXPORT] = "export",
    [REQUEST_IS_READONLY] = "is-readonly",
    [REQUEST_GET_STATS] = "get-stats",
    [REQUEST_GET_LOG] = "get-log",
    [REQUEST_GET_WHY] = "get-why",
    [REQUEST_GET_CHURN] = "get-churn",
};
