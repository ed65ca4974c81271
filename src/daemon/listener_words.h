/* SPDX-License-Identifier: MIT */
/* The words after the address of a listener, with commas between them: "ro,history",
 * "assign,allow=10.0.0.0/8". doc/security.md explains them. */
#ifndef PRSERVD_LISTENER_WORDS_H
#define PRSERVD_LISTENER_WORDS_H

#include "base/error.h"
#include "server/listener_options.h"

/* Sets options from words; an empty string sets none. listener is its name, for the error. Fails
 * with ERROR_INPUT or ERROR_MEMORY. What the options hold is the caller's
 * (listener_words_release), also after an error. */
ERROR_MUST_CHECK int listener_words_read(
    struct listener_options *options, const char *words, const char *listener, struct error *error);

/* Returns the first comma of an address after which a word stands, or NULL: the path of a unix
 * socket may have commas. */
const char *listener_words_find(const char *address);

/* Returns whether a text begins with a word. */
bool listener_words_are(const char *text);

void listener_words_release(struct listener_options *options);

#endif
