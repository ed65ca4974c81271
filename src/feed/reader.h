/* SPDX-License-Identifier: MIT */
/* Reading a feed: what its readers share.
 *
 * The functions that read a file return 0 also if it is damaged: that has been reported then, and
 * counted. They fail only if nothing more can be done: ERROR_MEMORY, or a feed that is too large.
 */
#ifndef PRSERV_FEED_READER_H
#define PRSERV_FEED_READER_H

#include "base/error.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "feed/feed.h"

/* A file of the feed. */
struct feed_path {
    int root;             /* descriptor of the folder that the user named, or AT_FDCWD */
    const char *relative; /* the name below root; borrowed */
    const char *shown;    /* the path for people; borrowed */
};

struct feed_reader {
    const struct cli *cli;
    struct feed *feed;
    struct map listed; /* the files that indexes name, below the folder that the user named */
    struct buffer name;
    const char *pkgarch; /* those that packages of pkgdata may have; NULL: not given */
    struct progress progress;
    size_t n_files;      /* that were read */
    size_t n_damaged;    /* entries that can't be read */
    size_t n_unreadable; /* files that can't be read, or not to their end */
    size_t n_reported;   /* of both */
    struct error error;  /* why a function failed */
};

/* Report an entry or a file that can't be read; after many reports they are only counted. line 0:
 * it has none. Return 0; feed_reader_skip_entry returns ERROR_FRAMING if there are too many. */
int feed_reader_skip_entry(struct feed_reader *reader, const struct feed_path *path,
    unsigned long line, const char *reason);
int feed_reader_skip_file(
    struct feed_reader *reader, const struct feed_path *path, const char *reason);

/* Opens a file for reading. Returns a descriptor, or -1 after reporting it. */
int feed_reader_open(struct feed_reader *reader, const struct feed_path *path);

/* Adds a package to the feed, or reports that it can't be one. */
ERROR_MUST_CHECK int feed_reader_add(
    struct feed_reader *reader, const struct feed_package *package, const struct feed_place *place);

/* Notes that an index names a file; folder: of the index. Packages that no index names are read
 * themselves. */
ERROR_MUST_CHECK int feed_reader_note_listed(
    struct feed_reader *reader, struct text folder, struct text file);

/* ---- the readers ---- */

/* Reads an index of opkg or Debian, or the primary.xml of rpm. (index.c) */
ERROR_MUST_CHECK int read_index(struct feed_reader *reader, const struct feed_path *path);

/* Reads a repomd.xml, and the primary.xml that it names. (rpm_index.c) */
ERROR_MUST_CHECK int read_repomd(struct feed_reader *reader, const struct feed_path *path);

/* Reads the file of a package: .ipk, .deb or .rpm. (package_file.c, rpm_index.c) */
ERROR_MUST_CHECK int read_package_file(struct feed_reader *reader, const struct feed_path *path);

/* Reads the file of a package in tmp/pkgdata/<machine>/runtime. (build_data.c) */
ERROR_MUST_CHECK int read_pkgdata(struct feed_reader *reader, const struct feed_path *path);

/* Reads packages/<architecture>/<recipe>[/<package>]/latest of buildhistory. (build_data.c) */
ERROR_MUST_CHECK int read_buildhistory(struct feed_reader *reader, const struct feed_path *path,
    struct text architecture, struct text recipe, struct text package);

#endif
