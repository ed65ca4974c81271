/* SPDX-License-Identifier: MIT */
/* The contents of a feed: the revisions of its packages, and files that contradict each other.
 *
 * All packages of a recipe have the same revision, so they share one entry. One thread. */
#ifndef PRSERV_FEED_H
#define PRSERV_FEED_H

#include "base/error.h"
#include "base/map.h"
#include "feed/mapping.h"
#include "feed/package.h"
#include "feed/place.h"
#include "feed/twice.h"

#include <stdbool.h>
#include <sys/queue.h>

/* The most packages that a feed may have, and the most bytes of their keys. */
#define FEED_MAX_PACKAGES 4000000
#define FEED_MAX_KEY_BYTES ((size_t)2 * 1024 * 1024 * 1024)

/* A file of a package. */
struct feed_file {
    STAILQ_ENTRY(feed_file) next;
    char *name; /* owned */
};

STAILQ_HEAD(feed_files, feed_file);

/* A key that the packages of an entry may have. */
struct feed_key {
    char *version;    /* owned, as are the others */
    char *pkgarch;    /* NULL: any */
    char *revision;   /* the greatest that the feed has, if this is the key */
    char *greatest;   /* the server's greatest revision; NULL: it has none */
    bool is_autoinc;  /* the version has AUTOINC, or leaves its number out */
    bool has_content; /* on the server, more than floors */
};

/* How the key of an entry was found. */
enum feed_match {
    FEED_NOT_ASKED,
    FEED_ONE_KEY,    /* the packages tell it */
    FEED_SERVER_KEY, /* of several keys, the server has this one */
    FEED_SEARCHED,   /* the packages don't tell the pkgarch; the server has the version for one */
    FEED_AMBIGUOUS,  /* of several keys, the server has more than one */
    FEED_NO_MATCH,   /* of several keys, the server has none */
    FEED_NO_COUNTER, /* the number is not one of AUTOINC */
};

/* The packages that have the same keys. */
struct feed_entry {
    struct map_entry map; /* must be first */
    STAILQ_ENTRY(feed_entry) next;
    char *recipe;
    struct feed_key *keys; /* the most likely first; those that the server has, once it was asked */
    size_t n_keys;
    bool is_certain;            /* there is one key, and nothing in doubt */
    bool is_incomplete;         /* there may be other keys */
    bool is_counter;            /* of AUTOINC */
    struct feed_entry *counter; /* of packages whose version may have AUTOINC; otherwise NULL */
    char *example;              /* a place that has the greatest revision */
    size_t n_files;
    struct feed_files files; /* only with feed.keeps_files */
    /* Set by feed_match_server. */
    enum feed_match match;
    bool is_counter_wanted;             /* some packages have a key with AUTOINC, or none yet */
    bool has_known_packages;            /* of a counter: the server has a key of its packages */
    struct feed_entry *next_of_version; /* among those that are searched for */
    size_t n_searched;                  /* keys that a search has found */
    struct feed_key searched;           /* the first of them */
};

STAILQ_HEAD(feed_entries, feed_entry);

struct feed {
    bool keeps_files; /* set by the caller, as are the next */
    bool finds_twice;
    bool keeps_keys; /* that the server does not have, or that have only floors there */
    struct map by_keys;
    struct feed_entries entries; /* in the order in which they were found */
    struct feed_files without_revision;
    struct twice_finder twice;
    struct mapping mapping;
    struct buffer key;
    size_t n_packages;
    size_t n_without_revision;
    size_t n_entries;
    size_t key_bytes;
};

void feed_init(struct feed *feed);
void feed_free(struct feed *feed);

/* Frees the texts of a key. */
void feed_free_key(struct feed_key *key);

/* Adds a package. Fails with ERROR_INPUT if its revision is none, with ERROR_MEMORY, and with
 * ERROR_FRAMING if there are too many. */
ERROR_MUST_CHECK int feed_add(struct feed *feed, const struct feed_package *package,
    const struct feed_place *place, struct error *error);

#endif
