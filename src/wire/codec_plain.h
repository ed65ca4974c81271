/* The short way of codec_read_request, for the requests that come all day. */
#ifndef PRSERVD_CODEC_PLAIN_H
#define PRSERVD_CODEC_PLAIN_H

#include "wire/request.h"

/* Reads a message if it is plain. The request owns its texts (codec_release). False: it is
 * not, or memory ran out; *request is as it was. */
bool codec_plain_read(struct text message, struct request *request);

#endif
