#include "exec/waiting.h"

#include "exec/decide.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A package that some waiting job is about, and whose job it is. */
struct busy_package {
    UT_hash_handle hh;
    size_t key_length;
    char key[];
};

void waiting_init(struct waiting *waiting)
{
    *waiting = (struct waiting){.busy = NULL};
    STAILQ_INIT(&waiting->jobs);
}

static void clear(struct waiting *waiting)
{
    struct busy_package *busy, *next;

    HASH_ITER (hh, waiting->busy, busy, next) {
        HASH_DEL(waiting->busy, busy);
        free(busy);
    }
}

void waiting_free(struct waiting *waiting)
{
    clear(waiting);
    buffer_free(&waiting->key);
}

void waiting_tidy(struct waiting *waiting)
{
    if (STAILQ_EMPTY(&waiting->jobs))
        clear(waiting);
}

static struct busy_package *find(struct waiting *waiting, const struct job *job)
{
    struct busy_package *busy = NULL;

    buffer_set_pair(&waiting->key, job->request->version, job->request->pkgarch);
    buffer_append(&waiting->key, (const char *)&job->client, sizeof job->client);
    if (!buffer_failed(&waiting->key))
        HASH_FIND(hh, waiting->busy, waiting->key.bytes, waiting->key.length, busy);
    return busy;
}

int waiting_is_behind(struct waiting *waiting, struct job *job, bool *is_behind)
{
    *is_behind = find(waiting, job) != NULL;
    return buffer_failed(&waiting->key) ? error_set_memory(&job->error) : 0;
}

/* With the key at hand. */
static bool add(struct waiting *waiting)
{
    struct busy_package *busy = NULL;

    if (!buffer_failed(&waiting->key))
        busy = calloc(1, sizeof *busy + waiting->key.length);
    if (!busy)
        return false;
    busy->key_length = waiting->key.length;
    memcpy(busy->key, waiting->key.bytes, waiting->key.length);
    HASH_ADD_KEYPTR(hh, waiting->busy, busy->key, busy->key_length, busy);
    if (busy->hh.tbl)
        return true;
    free(busy);
    return false;
}

int waiting_add(struct waiting *waiting, struct job *job)
{
    decide_again(job);
    if (!find(waiting, job) && !add(waiting))
        return error_set_memory(&job->error);
    STAILQ_INSERT_TAIL(&waiting->jobs, job, link);
    return 0;
}
