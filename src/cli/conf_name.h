/* Which names BitBake's variables can have. Pure functions. */
#ifndef PRSERV_CONF_NAME_H
#define PRSERV_CONF_NAME_H

#include "base/text.h"

#include <stdbool.h>

#define CONF_ROW "PRAUTO$"
#define CONF_PACKAGE "PRAUTO_"
#define CONF_LOCKDOWN "PRSERV_LOCKDOWN"

bool conf_name_has(char byte);

/* Is it one of these characters (and no NUL)? */
bool conf_is_one_of(char byte, const char *characters);

/* Does this word stand there? */
bool conf_stands_at(struct text text, size_t at, const char *word);

/* Why BitBake can't hold a variable of this name, or NULL if it can. */
const char *conf_name_refused(struct text name);

#endif
