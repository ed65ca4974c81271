/* SPDX-License-Identifier: MIT */
/* Preparations of a program's own process, before it opens files. */
#ifndef PRSERVD_PROCESS_H
#define PRSERVD_PROCESS_H

/* Opens standard input, output and error where they are closed, to read /dev/null: otherwise the
 * next file opened would get the number, and output would go to a connection or a database. */
void process_open_standard_files(void);

/* Raises the limit of open files as far as allowed, since every connection needs one. */
void process_raise_file_limit(void);

#endif
