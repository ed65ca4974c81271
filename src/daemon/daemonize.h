/* Going to the background, and telling the one who waits in the foreground. */
#ifndef PRSERVD_DAEMONIZE_H
#define PRSERVD_DAEMONIZE_H

/* Returns in the background process, detached from the terminal, with a descriptor
 * for daemonize_report. The foreground process waits for the report, prints it if it
 * is a failure, and exits: 0 or 1. To be called before there are threads. */
int daemonize(void);

/* Reports success (failure NULL) or why it could not start; closes the descriptor. */
void daemonize_report(int descriptor, const char *failure);

#endif
