/* SPDX-License-Identifier: MIT */
/* Writing texts of others to a terminal: control characters would take effect there. */
#ifndef PRSERV_TERMINAL_H
#define PRSERV_TERMINAL_H

#include <stdio.h>

/* Opens a stream that writes to standard output and replaces what is not safe on a terminal
 * (text_make_printable) with question marks; tabs and ends of lines stay. Returns NULL if there is
 * no memory. The stream is the caller's (fclose); standard output stays open. */
FILE *terminal_open(void);

#endif
