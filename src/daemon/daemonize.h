/* SPDX-License-Identifier: MIT */
/* Running in the background, and reporting the start to the process in the foreground. */
#ifndef PRSERVD_DAEMONIZE_H
#define PRSERVD_DAEMONIZE_H

/* Returns in the background process, detached from the terminal, with a descriptor for
 * daemonize_report. The foreground process prints what it is told, waits for the report and exits:
 * with 0, or with 1 after printing the failure. To be called before there are threads. */
int daemonize(void);

/* Has a line printed, while the start goes on. */
void daemonize_tell(int descriptor, const char *text);

/* Reports success (failure NULL) or the reason why the server could not start, and closes the
 * descriptor. */
void daemonize_report(int descriptor, const char *failure);

#endif
