/* SPDX-License-Identifier: MIT */
#include "cli/audit.h"

#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECKSUM_LENGTH 12

/* ---- options ---- */

static int audit_refuse_since(const struct cli *cli, const char *text)
{
    return cli_usage_error(cli,
        "--since takes a time such as 2026-11-29, 2026-11-29T18:30 or 2026-11-29T18:30:00Z, or an "
        "age such as 30min, 2h, 3d or 1w, not '%s'",
        text);
}

/* Reads a number with a unit. Returns false if it is not an age. */
static bool audit_read_age(const char *text, long long *seconds)
{
    static const struct {
        const char *unit;
        long long seconds;
    } units[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
    char *end;
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || errno != 0 || number > 1000000000)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *seconds = number * units[i].seconds;
            return true;
        }
    }
    return false;
}

static bool audit_read_date(const char *text, long long *since)
{
    static const char *const formats[] = {
        "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm when = {.tm_isdst = -1};
        const char *end = strptime(text, formats[i], &when);

        if (!end || (*end && strcmp(end, "Z") != 0))
            continue;
        *since = *end ? (long long)timegm(&when) : (long long)mktime(&when);
        return true;
    }
    return false;
}

int audit_read_since(const struct cli *cli, const char *text, long long *since)
{
    long long age;
    char *end;

    *since = 0;
    if (!text)
        return CLI_OK;
    if (audit_read_age(text, &age)) {
        *since = (long long)time(NULL) - age;
        *since = *since > 1 ? *since : 1;
        return CLI_OK;
    }
    if (audit_read_date(text, since))
        return CLI_OK;
    errno = 0;
    *since = strtoll(text, &end, 10);
    if (isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0 && *since < 1000000000000)
        return CLI_OK;
    return audit_refuse_since(cli, text);
}

int audit_read_limit(const struct cli *cli, const char *text, long long *limit)
{
    char *end;

    *limit = 0;
    if (!text)
        return CLI_OK;
    errno = 0;
    *limit = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || *limit > 1000000000)
        return cli_usage_error(
            cli, "--limit takes a number up to 1000000000, where 0 means all, not '%s'", text);
    if (*limit == 0)
        *limit = -1;
    return CLI_OK;
}

/* ---- texts ---- */

static const char *audit_copy(const json_t *string, char text[AUDIT_TEXT_BYTES])
{
    const char *value = json_string_value(string);

    (void)snprintf(text, AUDIT_TEXT_BYTES, "%s", value ? value : "");
    text_make_printable(text);
    return text;
}

const char *audit_text(const json_t *object, const char *name, char text[AUDIT_TEXT_BYTES])
{
    return audit_copy(json_object_get(object, name), text);
}

const char *audit_time(const json_t *object, const char *name, char text[AUDIT_TEXT_BYTES])
{
    const char *value = json_string_value(json_object_get(object, name));
    struct tm when = {.tm_isdst = 0};
    struct tm local;
    time_t seconds;

    if (value && strptime(value, "%Y-%m-%dT%H:%M:%S", &when)) {
        seconds = timegm(&when);
        if (localtime_r(&seconds, &local) &&
            strftime(text, AUDIT_TEXT_BYTES, "%Y-%m-%d %H:%M:%S", &local) > 0)
            return text;
    }
    (void)stpcpy(text, "-");
    return text;
}

const char *audit_annotations(const json_t *record, char text[AUDIT_TEXT_BYTES])
{
    json_t *annotations = json_object_get(record, "annotations");
    char part[AUDIT_TEXT_BYTES];
    size_t length = 0;
    const char *name;
    json_t *value;

    text[0] = '\0';
    json_object_foreach(annotations, name, value)
    {
        if (length >= AUDIT_TEXT_BYTES)
            break;
        length += (size_t)snprintf(text + length, AUDIT_TEXT_BYTES - length, "%s%s=%s",
            length > 0 ? " " : "", name, audit_copy(value, part));
    }
    text_make_printable(text);
    return text;
}

const char *audit_short(char *text)
{
    if (strlen(text) > CHECKSUM_LENGTH) {
        text[CHECKSUM_LENGTH] = '\0';
        text_make_printable(text); /* a character may have been cut */
    }
    return text;
}
