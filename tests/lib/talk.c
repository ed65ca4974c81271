/* SPDX-License-Identifier: MIT */
/* Calls library functions for a test. Each line of standard input is a call: a JSON list of the
 * function's name and its arguments. Each is answered by one line: an object with the code, the
 * error text, and the result of the function. Text that starts with "hex:" stands for those
 * bytes. An export writes a line for each row before its answer. */
#include <jansson.h>
#include <prserv.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

struct talk {
    struct prserv *server;
    struct prserv_error error;
};

static void check(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "talk: %s\n", what);
    exit(99);
}

static void say(json_t *value)
{
    check(value != NULL, "no value");
    check(json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY) == 0, "can't write");
    (void)putchar('\n');
    (void)fflush(stdout);
    json_decref(value);
}

/* ---- texts ---- */

static const char *from_hex(const char *digits, size_t *length)
{
    static char bytes[64];

    for (*length = 0; digits[2 * *length]; ++*length) {
        const char pair[] = {digits[2 * *length], digits[2 * *length + 1], '\0'};

        check(*length < sizeof bytes, "too much hex");
        bytes[*length] = (char)strtol(pair, NULL, 16);
    }
    return bytes;
}

/* Converts null to the empty text of a zeroed struct. */
static struct prserv_text text_in(const json_t *list, size_t index)
{
    const json_t *value = json_array_get(list, index);
    struct prserv_text text = {.bytes = json_string_value(value)};

    if (text.bytes && strncmp(text.bytes, "hex:", 4) == 0)
        text.bytes = from_hex(text.bytes + 4, &text.length);
    else
        text.length = json_string_length(value);
    return text;
}

static json_t *text_out(struct prserv_text text)
{
    return text.bytes ? json_stringn(text.bytes, text.length) : json_null();
}

static bool flag_in(const json_t *list, size_t index)
{
    return json_is_true(json_array_get(list, index));
}

static struct prserv_row row_in(const json_t *list, size_t start)
{
    return (struct prserv_row){
        .version = text_in(list, start),
        .pkgarch = text_in(list, start + 1),
        .checksum = text_in(list, start + 2),
        .value = text_in(list, start + 3),
    };
}

/* ---- answers ---- */

static json_t *result_out(const struct talk *talk, int result)
{
    check(result == talk->error.code, "the code in the struct differs");
    check(result == 0 || talk->error.text[0] != '\0', "an error without a text");
    return json_pack("{s:i, s:s}", "code", result, "text", talk->error.text);
}

static void say_revision(const struct talk *talk, int result, char *revision)
{
    json_t *answer = result_out(talk, result);

    check(result == 0 || revision == NULL, "an error returned a revision");
    (void)json_object_set_new(answer, "value", revision ? json_string(revision) : json_null());
    free(revision);
    say(answer);
}

static void say_flag(const struct talk *talk, int result, bool flag)
{
    json_t *answer = result_out(talk, result);

    (void)json_object_set_new(answer, "value", json_boolean(flag));
    say(answer);
}

/* ---- calls ---- */

static void call_connect(struct talk *talk, const json_t *call)
{
    struct prserv *server = (struct prserv *)talk; /* any pointer but NULL */
    int result = prserv_connect(&server, json_string_value(json_array_get(call, 1)),
        (unsigned)json_integer_value(json_array_get(call, 2)), &talk->error);

    check((result == 0) == (server != NULL), "a handle and an error, or neither");
    prserv_close(talk->server);
    talk->server = server;
    say(result_out(talk, result));
}

static void call_set_timeout(struct talk *talk, const json_t *call)
{
    prserv_set_timeout(talk->server, (unsigned)json_integer_value(json_array_get(call, 1)));
    say(json_true());
}

static void call_set_export_time(struct talk *talk, const json_t *call)
{
    prserv_set_export_time(talk->server, (unsigned)json_integer_value(json_array_get(call, 1)));
    say(json_true());
}

static void call_address(struct talk *talk, const json_t *call)
{
    (void)call;
    say(json_string(prserv_address(talk->server)));
}

static void call_ping(struct talk *talk, const json_t *call)
{
    (void)call;
    say(result_out(talk, prserv_ping(talk->server, &talk->error)));
}

static void call_get_pr(struct talk *talk, const json_t *call)
{
    char *revision;
    int result = prserv_get_pr(talk->server, text_in(call, 1), text_in(call, 2), text_in(call, 3),
        flag_in(call, 4), &revision, &talk->error);

    say_revision(talk, result, revision);
}

static void call_test_pr(struct talk *talk, const json_t *call)
{
    char *revision;
    int result = prserv_test_pr(talk->server, text_in(call, 1), text_in(call, 2), text_in(call, 3),
        flag_in(call, 4), &revision, &talk->error);

    say_revision(talk, result, revision);
}

static void call_max_package_pr(struct talk *talk, const json_t *call)
{
    char *revision;
    int result = prserv_max_package_pr(
        talk->server, text_in(call, 1), text_in(call, 2), &revision, &talk->error);

    say_revision(talk, result, revision);
}

static void call_test_package(struct talk *talk, const json_t *call)
{
    bool known = false;
    int result =
        prserv_test_package(talk->server, text_in(call, 1), text_in(call, 2), &known, &talk->error);

    say_flag(talk, result, known);
}

static void call_is_readonly(struct talk *talk, const json_t *call)
{
    bool read_only = false;
    int result = prserv_is_readonly(talk->server, &read_only, &talk->error);

    (void)call;
    say_flag(talk, result, read_only);
}

static void call_import_one(struct talk *talk, const json_t *call)
{
    const struct prserv_row row = row_in(call, 1);

    say(result_out(talk, prserv_import_one(talk->server, &row, &talk->error)));
}

static void call_get_stats(struct talk *talk, const json_t *call)
{
    char *stats;
    int result = prserv_get_stats(talk->server, &stats, &talk->error);

    (void)call;
    say_revision(talk, result, stats);
}

/* ---- export ---- */

struct exporting {
    json_int_t rows;
    json_int_t stop_after; /* number of rows, or -1 */
    bool counted_only;
    bool stop_at_metainfo;
    json_t *metainfo;
};

static int take_row(void *context, const struct prserv_row *row)
{
    struct exporting *exporting = context;

    if (!exporting->counted_only)
        say(json_pack("[o, o, o, o]", text_out(row->version), text_out(row->pkgarch),
            text_out(row->checksum), text_out(row->value)));
    return ++exporting->rows == exporting->stop_after;
}

static int take_metainfo(void *context, struct prserv_text json)
{
    struct exporting *exporting = context;

    check(exporting->rows == 0 && !exporting->metainfo, "metainfo after rows, or again");
    exporting->metainfo = json_loadb(json.bytes, json.length, 0, NULL);
    return exporting->stop_at_metainfo;
}

static long peak_kib(void)
{
    struct rusage usage;

    check(getrusage(RUSAGE_SELF, &usage) == 0, "no usage");
    return usage.ru_maxrss;
}

/* ["export", version, pkgarch, checksum, {"history", "colinfo", "count", "stop_after",
 * "stop_at_metainfo"}] */
static void call_export(struct talk *talk, const json_t *call)
{
    const json_t *how = json_array_get(call, 4);
    const json_t *stop_after = json_object_get(how, "stop_after");
    struct exporting exporting = {
        .stop_after = stop_after ? json_integer_value(stop_after) : -1,
        .counted_only = json_is_true(json_object_get(how, "count")),
        .stop_at_metainfo = json_is_true(json_object_get(how, "stop_at_metainfo")),
    };
    const struct prserv_export export = {
        .version = text_in(call, 1),
        .pkgarch = text_in(call, 2),
        .checksum = text_in(call, 3),
        .history = json_is_true(json_object_get(how, "history")),
        .colinfo = json_is_true(json_object_get(how, "colinfo")),
        .row = take_row,
        .metainfo = json_object_get(how, "no_metainfo") ? NULL : take_metainfo,
        .context = &exporting,
    };
    json_t *answer = result_out(talk, prserv_export(talk->server, &export, &talk->error));

    (void)json_object_set_new(answer, "rows", json_integer(exporting.rows));
    (void)json_object_set_new(answer, "peak_kib", json_integer(peak_kib()));
    (void)json_object_set_new(
        answer, "metainfo", exporting.metainfo ? exporting.metainfo : json_null());
    say(answer);
}

/* ---- batch ---- */

static json_t *request_out(const struct prserv_error *error, char *revision)
{
    json_t *answer = json_pack("{s:i, s:s}", "code", error->code, "text", error->text);

    (void)json_object_set_new(answer, "value", revision ? json_string(revision) : json_null());
    free(revision);
    return answer;
}

/* ["batch", [version, pkgarch, checksum, value or null, history], ...] */
static void call_batch(struct talk *talk, const json_t *call)
{
    size_t n = json_array_size(call) - 1;
    struct prserv_request *requests = malloc((n + 1) * sizeof *requests);
    json_t *answers = json_array();
    json_t *answer;

    check(requests != NULL, "out of memory");
    memset(requests, 0x5a, (n + 1) * sizeof *requests); /* the results need not be initialised */
    for (size_t i = 0; i < n; i++) {
        const json_t *request = json_array_get(call, i + 1);

        requests[i].row = row_in(request, 0);
        requests[i].history = flag_in(request, 4);
    }
    answer = result_out(talk, prserv_batch(talk->server, requests, n, &talk->error));
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(answers, request_out(&requests[i].error, requests[i].revision));
    (void)json_object_set_new(answer, "answers", answers);
    free(requests);
    say(answer);
}

/* ["max_package_prs", [version, pkgarch], ...] */
static void call_max_package_prs(struct talk *talk, const json_t *call)
{
    size_t n = json_array_size(call) - 1;
    struct prserv_package *packages = malloc((n + 1) * sizeof *packages);
    json_t *answers = json_array();
    json_t *answer;

    check(packages != NULL, "out of memory");
    memset(packages, 0x5a, (n + 1) * sizeof *packages); /* the results need not be initialised */
    for (size_t i = 0; i < n; i++) {
        const json_t *package = json_array_get(call, i + 1);

        packages[i].version = text_in(package, 0);
        packages[i].pkgarch = text_in(package, 1);
    }
    answer = result_out(talk, prserv_max_package_prs(talk->server, packages, n, &talk->error));
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(answers, request_out(&packages[i].error, packages[i].revision));
    (void)json_object_set_new(answer, "answers", answers);
    free(packages);
    say(answer);
}

/* ---- the loop ---- */

static const struct {
    const char *name;
    void (*function)(struct talk *talk, const json_t *call);
} calls[] = {
    {"connect", call_connect},
    {"set_export_time", call_set_export_time},
    {"set_timeout", call_set_timeout},
    {"address", call_address},
    {"ping", call_ping},
    {"get_pr", call_get_pr},
    {"test_pr", call_test_pr},
    {"max_package_pr", call_max_package_pr},
    {"test_package", call_test_package},
    {"is_readonly", call_is_readonly},
    {"import_one", call_import_one},
    {"get_stats", call_get_stats},
    {"export", call_export},
    {"batch", call_batch},
    {"max_package_prs", call_max_package_prs},
};

static void call_by_name(struct talk *talk, const json_t *call)
{
    const char *name = json_string_value(json_array_get(call, 0));

    check(name != NULL, "no call");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].name, name) == 0) {
            /* A function that succeeds clears the error, one that fails replaces it. */
            memset(&talk->error, 0x5a, sizeof talk->error);
            calls[i].function(talk, call);
            return;
        }
    }
    check(0, "an unknown call");
}

int main(void)
{
    struct talk talk = {.server = NULL};
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    while ((length = getline(&line, &room, stdin)) > 0) {
        json_t *call = json_loadb(line, (size_t)length, JSON_ALLOW_NUL, NULL);

        call_by_name(&talk, call);
        json_decref(call);
    }
    free(line);
    prserv_close(talk.server);
    return 0;
}
