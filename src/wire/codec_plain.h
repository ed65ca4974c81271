/* The short way of codec_read_request and codec_read_row, for what comes all day. */
#ifndef PRSERVD_CODEC_PLAIN_H
#define PRSERVD_CODEC_PLAIN_H

#include "wire/codec.h"
#include "wire/request.h"

/* Reads a message if it is plain. The request owns its texts (codec_release). False: it is
 * not, or memory ran out; *request is as it was. */
bool codec_plain_read(struct text message, struct request *request);

/* Reads a row of an export if it is plain: its texts are borrowed from json. False: it is
 * not; *row is as it was. */
bool codec_plain_read_row(struct text json, struct codec_row *row);

#endif
