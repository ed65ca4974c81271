/* SPDX-License-Identifier: MIT */
#include "server/message_reader.h"

void message_reader_init(struct message_reader *reader, uv_loop_t *loop)
{
    *reader = (struct message_reader){.loop = loop};
    STAILQ_INIT(&reader->waiting);
}

/* Reads the first message, in a thread of libuv's. */
static void message_reader_work(uv_work_t *work)
{
    struct message_reading *reading = work->data;

    reading->result =
        codec_read_request(buffer_text(&reading->text), &reading->request, &reading->error);
    if (reading->result == CODEC_REQUEST)
        reading->request_bytes = codec_request_bytes(&reading->request);
    buffer_free(&reading->text);
}

static void message_reader_begin(struct message_reader *reader);

static void message_reader_on_read(uv_work_t *work, int status)
{
    struct message_reading *reading = work->data;
    struct message_reader *reader = reading->reader;

    (void)status; /* it is never cancelled */
    reader->is_busy = false;
    STAILQ_REMOVE_HEAD(&reader->waiting, entry);
    message_reader_begin(reader);
    reading->done(reading->context);
}

/* Begins to read the message that has waited longest, unless another one is being read. */
static void message_reader_begin(struct message_reader *reader)
{
    struct message_reading *first = STAILQ_FIRST(&reader->waiting);

    if (reader->is_busy || !first)
        return;
    reader->is_busy = true;
    reader->work.data = first;
    (void)uv_queue_work(reader->loop, &reader->work, message_reader_work, message_reader_on_read);
}

void message_reader_submit(struct message_reader *reader, struct message_reading *reading)
{
    reading->reader = reader;
    STAILQ_INSERT_TAIL(&reader->waiting, reading, entry);
    message_reader_begin(reader);
}

void message_reader_close(struct message_reader *reader)
{
    struct message_reading *first = STAILQ_FIRST(&reader->waiting);
    struct message_reading *reading;

    while (first && (reading = STAILQ_NEXT(first, entry))) {
        STAILQ_REMOVE(&reader->waiting, reading, message_reading, entry);
        buffer_free(&reading->text);
        reading->request = (struct request){.kind = REQUEST_KINDS};
        reading->result = error_set(&reading->error, CODEC_LOST, "the server is stopping");
        reading->done(reading->context);
    }
}
