/* An allocator that fails when it is told to.
 *
 * Linked with --wrap, it stands before malloc and its relatives in every object of the
 * program; failing_adopt_libraries puts it into SQLite, jansson and libuv too. What libuv
 * reallocates never fails: there it ends the process by itself. What the C library
 * allocates on its own is not seen. */
#ifndef PRSERVD_TESTS_FAILING_H
#define PRSERVD_TESTS_FAILING_H

#include <stdbool.h>

/* Before any of them is used. */
void failing_adopt_libraries(void);

enum failing_mode {
    FAILING_ONCE, /* the nth allocation alone */
    FAILING_ON,   /* the nth and all that follow */
};

/* From now on they are counted, and fail. */
void failing_arm(unsigned long nth, enum failing_mode mode, bool this_thread_only);

/* Returns how many failed since. */
unsigned long failing_disarm(void);

/* This thread's allocations neither count nor fail. */
void failing_exempt_thread(void);

/* Blocks that are allocated and were not freed, by all threads, and by this one. */
long failing_live(void);
long failing_live_here(void);

/* ---- every N in turn ---- */

/* What one run came to. What is wrong ends the process (FAILING_REQUIRE). */
enum failing_outcome {
    FAILING_RIGHT, /* all was answered, and all of it is right */
    FAILING_ERROR, /* an error was reported, and what was answered is right */
};

struct failing_case {
    const char *name;
    enum failing_outcome (*run)(void *context);
    void *context;
    bool this_thread_only;
    bool keeps_memory; /* of objects that outlive a run: live blocks are not compared */
};

/* Lets N = 1, 2, … fail, alone and with all that follow, each `every`th, until a run goes
 * through without a failure. After each, a run without one has to be right. Prints figures. */
void failing_try(const struct failing_case *tried, unsigned long every);

/* --every N, the only option: 1 without it. */
unsigned long failing_read_options(int n_arguments, char **arguments);

void failing_complain(const char *file, int line, const char *text) __attribute__((noreturn));

#define FAILING_REQUIRE(what)                            \
    do {                                                 \
        if (!(what))                                     \
            failing_complain(__FILE__, __LINE__, #what); \
    } while (0)

#endif
