/* SPDX-License-Identifier: MIT */
#include "cli/verify/verify_schema.h"

#include "store/sqlite/shape.h"

#include <stdio.h>

bool verify_schema_has_table(struct sqlite_reader *reader, const char *name)
{
    char sql[160];

    (void)snprintf(sql, sizeof sql,
        "SELECT count(*) FROM sqlite_master "
        "WHERE type IN ('table', 'view') AND name = '%s' COLLATE NOCASE",
        name);
    return sqlite_reader_ask(reader, sql) > 0;
}

/* Notes what has been found about the shape. */
struct verify_shape {
    struct sqlite_reader *reader;
    bool is_readable;
};

static void verify_schema_on_difference(
    void *context, enum sqlite_shape_effect effect, const char *difference)
{
    struct verify_shape *shape = context;

    if (effect == SQLITE_SHAPE_UNREADABLE)
        shape->is_readable = false;
    findings_add(shape->reader->findings, FINDING_SCHEMA, NULL, "PRMAIN: %s", difference);
}

bool verify_schema(struct sqlite_reader *reader)
{
    struct verify_shape shape = {.reader = reader, .is_readable = true};
    int code;

    reader->findings->is_checked[FINDING_SCHEMA] = true;
    if (!verify_schema_has_table(reader, "PRMAIN")) {
        bool is_old = verify_schema_has_table(reader, "PRMAIN_nohist") ||
                      verify_schema_has_table(reader, "PRMAIN_hist");

        if (!is_old && !reader->is_unreadable)
            findings_add(reader->findings, FINDING_SCHEMA, NULL, "the table PRMAIN is missing");
        return false;
    }
    code = sqlite_shape_check(reader->database, verify_schema_on_difference, &shape);
    if (code != SQLITE_OK)
        sqlite_reader_fail(reader, code);
    return shape.is_readable;
}
