/* SPDX-License-Identifier: MIT */
/* The names that BitBake's variables can have. Pure functions. */
#ifndef PRSERV_CONF_NAME_H
#define PRSERV_CONF_NAME_H

#include "base/text.h"

#include <stdbool.h>

#define CONF_ROW "PRAUTO$"
#define CONF_PACKAGE "PRAUTO_"
#define CONF_LOCKDOWN "PRSERV_LOCKDOWN"
#define CONF_HEADER "#PR_core_ver"

/* Returns whether a name can hold this character. */
bool conf_name_has(char byte);

/* Returns whether the byte is one of these characters (not NUL). */
bool conf_is_one_of(char byte, const char *characters);

/* Returns whether the text has this word at that position. */
bool conf_stands_at(struct text text, size_t at, const char *word);

/* Returns the reason why BitBake can't have a variable of this name, or NULL if it can. */
const char *conf_name_refused(struct text name);

#endif
