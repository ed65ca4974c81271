/* SPDX-License-Identifier: MIT */
#include "audit/report_parts.h"

#include "wire/codec.h"

#include <inttypes.h>
#include <time.h>

void report_write_text(struct buffer *out, const char *name, struct text text)
{
    buffer_append_format(out, ",\"%s\":", name);
    codec_write_string(out, text);
}

void report_write_number(struct buffer *out, const char *name, uint64_t number)
{
    buffer_append_format(out, ",\"%s\":%" PRIu64, name, number);
}

void report_write_time(struct buffer *out, const char *name, int64_t time_us)
{
    const time_t seconds = (time_t)(time_us / 1000000);
    struct tm when;
    char text[32];

    if (time_us <= 0 || !gmtime_r(&seconds, &when) ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &when) == 0) {
        buffer_append_format(out, ",\"%s\":null", name);
        return;
    }
    buffer_append_format(out, ",\"%s\":\"%s.%06dZ\"", name, text, (int)(time_us % 1000000));
}

void report_write_source(
    struct buffer *out, struct text peer, struct text rights, struct text annotations)
{
    if (peer.length > 0)
        report_write_text(out, "peer", peer);
    if (rights.length > 0)
        report_write_text(out, "rights", rights);
    if (annotations.length == 0)
        return;
    buffer_append_string(out, ",\"annotations\":"); /* a JSON object in ASCII */
    buffer_append_text(out, annotations);
}
