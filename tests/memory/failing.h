/* SPDX-License-Identifier: MIT */
/* An allocator that fails on demand.
 *
 * Linked with --wrap, it replaces malloc and its relatives in every object of the program;
 * failing_adopt_libraries installs it in SQLite, jansson and libuv, too. A reallocation of libuv
 * never fails: libuv would end the process. Allocations of the C library itself are not seen. */
#ifndef PRSERVD_FAILING_H
#define PRSERVD_FAILING_H

#include <stdbool.h>

/* Called before any of the libraries is used. */
void failing_adopt_libraries(void);

enum failing_mode {
    FAILING_ONCE, /* only the nth allocation fails */
    FAILING_ON,   /* the nth and all later ones fail */
};

/* Starts to count allocations, and lets them fail. */
void failing_arm(unsigned long nth, enum failing_mode mode, bool this_thread_only);

/* Stops, and returns the number of failed allocations. */
unsigned long failing_disarm(void);

/* Exempts the allocations of this thread, or does not any more. */
void failing_exempt_thread(bool is_exempt);

/* Return the number of allocated blocks, of all threads and of this one. */
long failing_live(void);
long failing_live_here(void);

/* ---- each allocation in turn ---- */

/* The result of a run. A wrong answer ends the process (FAILING_REQUIRE). */
enum failing_outcome {
    FAILING_RIGHT, /* every request was answered, correctly */
    FAILING_ERROR, /* an error was reported, and all answers are correct */
};

struct failing_case {
    const char *name;
    enum failing_outcome (*run)(void *context);
    void *context;
    bool this_thread_only;
    bool keeps_memory; /* objects outlive a run, so that live blocks are not compared */
};

/* Runs the case with allocation N = 1, 2, … (in steps of `every`) failing, alone and with all later
 * ones, until a run has no failure. After each, a run without failures has to succeed. Prints
 * figures. */
void failing_try(const struct failing_case *tried, unsigned long every);

/* Reads --every N, the only option; its default is 1. */
unsigned long failing_read_options(int n_arguments, char **arguments);

void failing_complain(const char *file, int line, const char *text) __attribute__((noreturn));

#define FAILING_REQUIRE(what)                            \
    do {                                                 \
        if (!(what))                                     \
            failing_complain(__FILE__, __LINE__, #what); \
    } while (0)

#endif
