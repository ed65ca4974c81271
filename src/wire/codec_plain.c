/* Requests as every BitBake sends them, and rows as prservd exports them: each member once,
 * strings of printable ASCII without escapes. A general JSON library takes several times as long
 * for these as everything else that a look-up costs (doc/performance.md). What is anything else,
 * right or wrong, is left to it: here is no error. */
#include "wire/codec_plain.h"

#include "revision/revision.h"

#include <stdlib.h>

struct cursor {
    const char *at;
    const char *end;
};

enum argument { VERSION = 1, PKGARCH = 2, CHECKSUM = 4, VALUE = 8, HISTORY = 16 };

/* Which arguments each request needs, and which it may have besides; none: left alone. */
static const struct {
    bool plain;
    unsigned needed;
    unsigned allowed;
} shapes[REQUEST_KINDS] = {
    [REQUEST_PING] = {true, 0, 0},
    [REQUEST_IS_READONLY] = {true, 0, 0},
    [REQUEST_GET_PR] = {true, VERSION | PKGARCH | CHECKSUM, HISTORY},
    [REQUEST_TEST_PR] = {true, VERSION | PKGARCH | CHECKSUM, HISTORY},
    [REQUEST_TEST_PACKAGE] = {true, VERSION | PKGARCH, 0},
    [REQUEST_MAX_PACKAGE_PR] = {true, VERSION | PKGARCH, 0},
    [REQUEST_IMPORT_ONE] = {true, VERSION | PKGARCH | CHECKSUM | VALUE, 0},
};

/* ---- JSON ---- */

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t' ||
                                           *cursor->at == '\r' || *cursor->at == '\n'))
        cursor->at++;
}

/* Takes the byte, behind blanks. */
static bool take(struct cursor *cursor, char byte)
{
    skip_blanks(cursor);
    if (cursor->at == cursor->end || *cursor->at != byte)
        return false;
    cursor->at++;
    return true;
}

static bool take_word(struct cursor *cursor, const char *word)
{
    size_t length = strlen(word);

    skip_blanks(cursor);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

static bool take_string(struct cursor *cursor, struct text *string)
{
    const char *end;
    unsigned char odd = 0;

    if (!take(cursor, '"'))
        return false;
    end = memchr(cursor->at, '"', (size_t)(cursor->end - cursor->at));
    if (!end)
        return false;
    for (const char *at = cursor->at; at < end; at++)
        odd |= *at < 0x20 || *at == 0x7f || *at == '\\' || (unsigned char)*at > 0x7f;
    string->bytes = cursor->at;
    string->length = (size_t)(end - cursor->at);
    cursor->at = end + 1;
    return odd == 0;
}

static bool take_flag(struct cursor *cursor, bool *flag)
{
    *flag = take_word(cursor, "true");
    return *flag || take_word(cursor, "false") || take_word(cursor, "null");
}

/* ---- a request ---- */

static bool take_kind(struct cursor *cursor, enum request_kind *kind)
{
    struct text name;

    if (!take_string(cursor, &name))
        return false;
    for (int i = 0; i < REQUEST_KINDS; i++) {
        if (shapes[i].plain && text_is(name, request_name((enum request_kind)i))) {
            *kind = (enum request_kind)i;
            return true;
        }
    }
    return false;
}

static struct text *find_field(struct request *request, enum argument argument)
{
    switch (argument) {
    case VERSION:
        return &request->version;
    case PKGARCH:
        return &request->pkgarch;
    case CHECKSUM:
        return &request->checksum;
    default:
        return &request->value;
    }
}

static unsigned find_argument(struct text key)
{
    static const char *const names[] = {"version", "pkgarch", "checksum", "value", "history"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (text_is(key, names[i]))
            return 1u << i;
    }
    return 0;
}

/* Returns the argument that was taken; 0: this is not plain. */
static unsigned take_argument(struct cursor *cursor, struct request *request, unsigned allowed)
{
    struct text key;
    unsigned argument;

    if (!take_string(cursor, &key) || !take(cursor, ':'))
        return 0;
    argument = find_argument(key);
    if (!(argument & allowed))
        return 0;
    if (argument == HISTORY)
        return take_flag(cursor, &request->history) ? argument : 0;
    return take_string(cursor, find_field(request, (enum argument)argument)) ? argument : 0;
}

static bool take_arguments(struct cursor *cursor, struct request *request)
{
    unsigned needed = shapes[request->kind].needed;
    unsigned allowed = shapes[request->kind].allowed | needed;

    if (!take(cursor, '{'))
        return false;
    if (needed == 0)
        return take(cursor, '}');
    do {
        unsigned argument = take_argument(cursor, request, allowed);

        if (argument == 0)
            return false;
        allowed &= ~argument; /* each once */
        needed &= ~argument;
    } while (take(cursor, ','));
    return needed == 0 && take(cursor, '}');
}

static bool take_request(struct cursor *cursor, struct request *request)
{
    if (!take(cursor, '{') || !take_kind(cursor, &request->kind) || !take(cursor, ':') ||
        !take_arguments(cursor, request) || !take(cursor, '}'))
        return false;
    skip_blanks(cursor);
    return cursor->at == cursor->end;
}

/* ---- its texts ---- */

/* A NUL takes the place of the quote behind it. */
static void move_field(struct text *field, const char *from, char *to)
{
    if (!field->bytes)
        return;
    to[(size_t)(field->bytes - from) + field->length] = '\0';
    field->bytes = to + (field->bytes - from);
}

/* Lets the texts point into a copy of the message. */
static bool own_texts(struct request *request, struct text message)
{
    request->copy = malloc(message.length);
    if (!request->copy)
        return false;
    memcpy(request->copy, message.bytes, message.length);
    move_field(&request->version, message.bytes, request->copy);
    move_field(&request->pkgarch, message.bytes, request->copy);
    move_field(&request->checksum, message.bytes, request->copy);
    move_field(&request->value, message.bytes, request->copy);
    return true;
}

bool codec_plain_read(struct text message, struct request *request)
{
    struct cursor cursor = {.at = message.bytes};
    struct request read = {.kind = REQUEST_KINDS};

    if (message.length == 0)
        return false;
    cursor.end = message.bytes + message.length;
    if (!take_request(&cursor, &read))
        return false;
    if (read.kind == REQUEST_IMPORT_ONE && !revision_is_valid(read.value.bytes, read.value.length))
        return false;
    if (shapes[read.kind].needed != 0 && !own_texts(&read, message))
        return false;
    *request = read;
    return true;
}

/* ---- rows ---- */

static bool take_rows_field(struct cursor *cursor, const char *name, struct text *field)
{
    struct text key;

    return take_string(cursor, &key) && text_is(key, name) && take(cursor, ':') &&
           take_string(cursor, field);
}

bool codec_plain_read_row(struct text json, struct codec_row *row)
{
    struct cursor cursor = {.at = json.bytes};
    struct codec_row read = {.owner = NULL};

    if (json.length == 0)
        return false;
    cursor.end = json.bytes + json.length;
    if (!take(&cursor, '{') || !take_rows_field(&cursor, "version", &read.version) ||
        !take(&cursor, ',') || !take_rows_field(&cursor, "pkgarch", &read.pkgarch) ||
        !take(&cursor, ',') || !take_rows_field(&cursor, "checksum", &read.checksum) ||
        !take(&cursor, ',') || !take_rows_field(&cursor, "value", &read.value) ||
        !take(&cursor, '}'))
        return false;
    skip_blanks(&cursor);
    if (cursor.at != cursor.end)
        return false;
    *row = read;
    return true;
}
