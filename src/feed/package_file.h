/* SPDX-License-Identifier: MIT */
/* Files of packages, by their names. */
#ifndef PRSERV_FEED_PACKAGE_FILE_H
#define PRSERV_FEED_PACKAGE_FILE_H

#include <stdbool.h>

/* Returns whether a file's name is one of a package: .ipk, .opk, .deb or .rpm. */
bool package_file_has_name(const char *name);

#endif
