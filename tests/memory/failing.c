/* SPDX-License-Identifier: MIT */
#include "failing.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);
char *__wrap_strdup(const char *string);
char *__wrap_strndup(const char *string, size_t length);

/* A process has one allocator, so that its state is global. */
static struct {
    atomic_bool armed;
    atomic_bool one_thread;
    pthread_t thread; /* set before armed */
    atomic_int mode;
    atomic_ulong nth;
    atomic_ulong count;
    atomic_ulong failed;
    atomic_long live;
    const char *name; /* of the case, for complaints */
} state;

static _Thread_local bool exempt;
static _Thread_local long live_here;

static bool fails(void)
{
    unsigned long count;

    if (!atomic_load(&state.armed) || exempt ||
        (atomic_load(&state.one_thread) && !pthread_equal(state.thread, pthread_self())))
        return false;
    count = atomic_fetch_add(&state.count, 1) + 1;
    if (count < atomic_load(&state.nth) ||
        (count > atomic_load(&state.nth) && atomic_load(&state.mode) == FAILING_ONCE))
        return false;
    (void)atomic_fetch_add(&state.failed, 1);
    errno = ENOMEM;
    return true;
}

static void *counted(void *block)
{
    if (block) {
        (void)atomic_fetch_add(&state.live, 1);
        live_here++;
    }
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (!block)
        return __wrap_malloc(size);
    return fails() ? NULL : __real_realloc(block, size);
}

void __wrap_free(void *block)
{
    if (!block)
        return;
    (void)atomic_fetch_sub(&state.live, 1);
    live_here--;
    __real_free(block);
}

char *__wrap_strndup(const char *string, size_t length)
{
    size_t most = strnlen(string, length);
    char *copy = __wrap_malloc(most + 1);

    if (copy) {
        memcpy(copy, string, most);
        copy[most] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *string)
{
    return __wrap_strndup(string, strlen(string));
}

/* ---- libraries ---- */

static void *sqlite_malloc(int size)
{
    return __wrap_malloc((size_t)size);
}

static void *sqlite_realloc(void *block, int size)
{
    return __wrap_realloc(block, (size_t)size);
}

static int sqlite_size(void *block)
{
    return (int)malloc_usable_size(block);
}

static int sqlite_round(int size)
{
    return (size + 7) & ~7;
}

static int sqlite_start(void *context)
{
    (void)context;
    return SQLITE_OK;
}

static void sqlite_end(void *context)
{
    (void)context;
}

static void *uv_realloc_always(void *block, size_t size)
{
    return block ? __real_realloc(block, size) : counted(__real_malloc(size));
}

void failing_adopt_libraries(void)
{
    static const sqlite3_mem_methods methods = {sqlite_malloc, __wrap_free, sqlite_realloc,
        sqlite_size, sqlite_round, sqlite_start, sqlite_end, NULL};

    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    FAILING_REQUIRE(
        uv_replace_allocator(__wrap_malloc, uv_realloc_always, __wrap_calloc, __wrap_free) == 0);
    FAILING_REQUIRE(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK);
    FAILING_REQUIRE(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
    /* SQLite must not serve allocations from a reserve. */
    FAILING_REQUIRE(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) == SQLITE_OK);
}

/* ---- arming ---- */

void failing_arm(unsigned long nth, enum failing_mode mode, bool this_thread_only)
{
    state.thread = pthread_self();
    atomic_store(&state.one_thread, this_thread_only);
    atomic_store(&state.mode, mode);
    atomic_store(&state.nth, nth);
    atomic_store(&state.count, 0);
    atomic_store(&state.failed, 0);
    atomic_store(&state.armed, true);
}

unsigned long failing_disarm(void)
{
    atomic_store(&state.armed, false);
    return atomic_load(&state.failed);
}

void failing_exempt_thread(bool is_exempt)
{
    exempt = is_exempt;
}

long failing_live(void)
{
    return atomic_load(&state.live);
}

long failing_live_here(void)
{
    return live_here;
}

void failing_complain(const char *file, int line, const char *text)
{
    (void)failing_disarm();
    (void)fprintf(stderr, "%s, allocation %lu%s: %s:%d: failed: %s\n",
        state.name ? state.name : "?", atomic_load(&state.nth),
        atomic_load(&state.mode) == FAILING_ON ? " and all that follow" : "", file, line, text);
    abort();
}

/* ---- every N in turn ---- */

static long live_of(const struct failing_case *tried)
{
    if (tried->keeps_memory)
        return 0;
    return tried->this_thread_only ? failing_live_here() : failing_live();
}

/* Returns the number of failed allocations. */
static unsigned long try_one(const struct failing_case *tried, unsigned long nth,
    enum failing_mode mode, unsigned long *unharmed)
{
    long live = live_of(tried);
    enum failing_outcome outcome;
    unsigned long failed;

    failing_arm(nth, mode, tried->this_thread_only);
    outcome = tried->run(tried->context);
    failed = failing_disarm();
    FAILING_REQUIRE(live_of(tried) == live && "nothing leaks");
    FAILING_REQUIRE(
        (failed > 0 || outcome == FAILING_RIGHT) && "no error without a failed allocation");
    FAILING_REQUIRE(tried->run(tried->context) == FAILING_RIGHT && "it works again");
    FAILING_REQUIRE(live_of(tried) == live && "nothing leaks afterwards");
    if (failed > 0 && outcome == FAILING_RIGHT)
        ++*unharmed;
    return failed;
}

static unsigned long try_all(const struct failing_case *tried, enum failing_mode mode,
    unsigned long every, unsigned long *unharmed)
{
    unsigned long tries = 0;

    for (unsigned long nth = 1; try_one(tried, nth, mode, unharmed) > 0; nth += every)
        tries++;
    return tries;
}

void failing_try(const struct failing_case *tried, unsigned long every)
{
    unsigned long unharmed = 0;
    unsigned long once;
    unsigned long on;

    state.name = tried->name;
    FAILING_REQUIRE(
        tried->run(tried->context) == FAILING_RIGHT); /* creates what the process keeps */
    once = try_all(tried, FAILING_ONCE, every, &unharmed);
    on = try_all(tried, FAILING_ON, every, &unharmed);
    (void)printf(
        "%-20s %lu allocations failed alone, %lu with all later ones; %lu without an error\n",
        tried->name, once, on, unharmed);
    (void)fflush(stdout);
}

unsigned long failing_read_options(int n_arguments, char **arguments)
{
    static const struct option known[] = {
        {"every", required_argument, NULL, 'e'}, {NULL, 0, NULL, 0}};
    unsigned long every = 1;
    int option;

    while ((option = getopt_long(n_arguments, arguments, "", known, NULL)) != -1) {
        every = option == 'e' ? strtoul(optarg, NULL, 10) : 0;
        if (every == 0) {
            (void)fprintf(stderr, "Usage: %s [--every N]\n", arguments[0]);
            exit(2);
        }
    }
    return every;
}
