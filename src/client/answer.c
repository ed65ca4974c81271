#include "client/answer.h"

#include "client/fail.h"
#include "wire/codec.h"

#include <stdlib.h>

int answer_fail(struct prserv_error *error, int codec_code, const struct error *reason)
{
    switch (codec_code) {
    case ERROR_MEMORY:
        return fail(error, PRSERV_ERROR_MEMORY, "%s", reason->text);
    case ERROR_INPUT:
        return fail(error, PRSERV_ERROR_REFUSED, "%s", reason->text);
    default:
        return fail(error, PRSERV_ERROR_PROTOCOL, "%s", reason->text);
    }
}

int answer_read_revision(
    struct text answer, bool needed, char **revision, struct prserv_error *error)
{
    struct error reason;
    int result = codec_read_value(answer, CODEC_INTEGERS_TAKEN, revision, &reason);

    if (result != 0)
        return answer_fail(error, result, &reason);
    if (needed && !*revision)
        return fail(error, PRSERV_ERROR_REFUSED, "the server gave no revision");
    return 0;
}

/* null is the no of a read-only server. */
int answer_read_imported(struct text answer, struct text value, struct prserv_error *error)
{
    char *revision = NULL;
    int result;

    if (text_is(answer, "null"))
        return fail(error, PRSERV_ERROR_REFUSED, "the server is read-only");
    result = answer_read_revision(answer, true, &revision, error);
    if (result == 0 && !text_is(value, revision))
        result = fail(error, PRSERV_ERROR_REFUSED, "the server holds %.100s instead of %.*s",
            revision, value.length < 100 ? (int)value.length : 100, value.bytes);
    free(revision);
    return result;
}
