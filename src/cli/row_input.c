/* SPDX-License-Identifier: MIT */
#include "cli/row_input.h"

#include "cli/rows/database.h"

int row_input_open(struct row_reader **reader, const char *name, struct error *error)
{
    return database_is(name) ? database_reader_open(reader, name, error)
                             : row_reader_open(reader, name, error);
}
