/* SPDX-License-Identifier: MIT */
#include "server/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64

/* ---- users and groups ---- */

/* Reads a number that an id can have. Returns false if the text is not one. */
static bool access_read_id(const char *text, unsigned long *id)
{
    char *end;

    errno = 0;
    *id = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *id < UINT32_MAX;
}

static int access_find_user(const char *name, uid_t *user, struct error *error)
{
    const struct passwd *found;
    unsigned long id;

    if (access_read_id(name, &id)) {
        *user = (uid_t)id;
        return 0;
    }
    found = getpwnam(name);
    if (!found)
        return error_set(error, ERROR_INPUT, "there is no user '%s'", name);
    *user = found->pw_uid;
    return 0;
}

static int access_find_group(const char *name, gid_t *group, struct error *error)
{
    const struct group *found;
    unsigned long id;

    if (access_read_id(name, &id)) {
        *group = (gid_t)id;
        return 0;
    }
    found = getgrnam(name);
    if (!found)
        return error_set(error, ERROR_INPUT, "there is no group '%s'", name);
    *group = found->gr_gid;
    return 0;
}

static int access_add_user(struct access_list *list, const char *name, struct error *error)
{
    uid_t *users = realloc(list->users, (list->n_users + 1) * sizeof *users);
    int result;

    if (!users)
        return error_set_memory(error);
    list->users = users;
    result = access_find_user(name, &users[list->n_users], error);
    if (result == 0)
        list->n_users++;
    return result;
}

static int access_add_group(struct access_list *list, const char *name, struct error *error)
{
    gid_t *groups = realloc(list->groups, (list->n_groups + 1) * sizeof *groups);
    int result;

    if (!groups)
        return error_set_memory(error);
    list->groups = groups;
    result = access_find_group(name, &groups[list->n_groups], error);
    if (result == 0)
        list->n_groups++;
    return result;
}

/* ---- lists ---- */

int access_list_add(struct access_list *list, struct text text, struct error *error)
{
    const bool is_user = text_starts_with(text, "uid:");
    char name[NAME_BYTES];

    if (!is_user && !text_starts_with(text, "gid:"))
        return networks_add(&list->networks, text, error);
    text = text_from(text, strlen("uid:"));
    if (text.length == 0 || text.length >= sizeof name)
        return error_set(error, ERROR_INPUT, "'uid:' and 'gid:' need a name or a number");
    memcpy(name, text.bytes, text.length);
    name[text.length] = '\0';
    return is_user ? access_add_user(list, name, error) : access_add_group(list, name, error);
}

static bool access_list_has_ids(const struct access_list *list)
{
    return list->n_users > 0 || list->n_groups > 0;
}

bool access_list_is_empty(const struct access_list *list)
{
    return list->networks.n == 0 && !access_list_has_ids(list);
}

static bool access_list_contains(
    const struct access_list *list, int descriptor, const struct peer *peer)
{
    if (!peer->is_known)
        return false;
    if (!peer->is_unix)
        return networks_contain(&list->networks, &peer->network);
    for (size_t i = 0; i < list->n_users; i++) {
        if (list->users[i] == peer->user)
            return true;
    }
    for (size_t i = 0; i < list->n_groups; i++) {
        if (peer_is_in_group(descriptor, peer, list->groups[i]))
            return true;
    }
    return false;
}

static void access_list_release(struct access_list *list)
{
    networks_free(&list->networks);
    free(list->users);
    free(list->groups);
    *list = (struct access_list){.users = NULL};
}

/* ---- access ---- */

void access_finish(struct access *access)
{
    networks_finish(&access->allowed.networks);
    networks_finish(&access->writers.networks);
    networks_finish(&access->relays.networks);
}

int access_check(
    const struct access *access, bool is_unix, const char *listener, struct error *error)
{
    const struct access_list *lists[3];

    if (!access)
        return 0;
    lists[0] = &access->allowed;
    lists[1] = &access->writers;
    lists[2] = &access->relays;
    for (size_t i = 0; i < 3; i++) {
        if (is_unix && lists[i]->networks.n > 0)
            return error_set(error, ERROR_INPUT,
                "%s: clients of a unix socket have no network; write uid:NAME or gid:NAME",
                listener);
        if (!is_unix && access_list_has_ids(lists[i]))
            return error_set(error, ERROR_INPUT,
                "%s: 'uid:' and 'gid:' are for unix sockets; clients of this listener are known by "
                "their networks",
                listener);
    }
    return 0;
}

bool access_allows(const struct access *access, int descriptor, const struct peer *peer)
{
    return !access || access_list_is_empty(&access->allowed) ||
           access_list_contains(&access->allowed, descriptor, peer);
}

bool access_is_writer(const struct access *access, int descriptor, const struct peer *peer)
{
    return !access || access_list_is_empty(&access->writers) ||
           access_list_contains(&access->writers, descriptor, peer);
}

bool access_is_relay(const struct access *access, int descriptor, const struct peer *peer)
{
    return access && access_list_contains(&access->relays, descriptor, peer);
}

void access_release(struct access *access)
{
    access_list_release(&access->allowed);
    access_list_release(&access->writers);
    access_list_release(&access->relays);
}
