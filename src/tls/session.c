/* SPDX-License-Identifier: MIT */
/* The library reads from one buffer of the session and writes to another. */
#include "tls/context.h"
#include "tls/reason.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_BYTES ((size_t)1024)        /* of a buffer that is empty */
#define MOST_UNREAD ((size_t)128 * 1024) /* before the handshake is complete */
#define MOST_HELLO ((size_t)32 * 1024)   /* the first message of a client */
#define MOST_KEY_UPDATES 64              /* of the other side: each costs tens of microseconds */

/* A name counts only where today's certificates have it, in subjectAltName. */
#define HOST_FLAGS (X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)

#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22
#define RECORD_HEADER 5
#define HELLO_HEADER 9 /* of the record and of the message: type, length */

struct tls_session {
    SSL *ssl;
    struct buffer input; /* from the network */
    size_t n_taken;      /* bytes of input that the library has */
    struct buffer output;
    bool has_record;        /* the other side has begun with what may be TLS */
    bool is_complete;       /* the handshake is */
    unsigned n_key_updates; /* that the other side has sent */
    char host[256];         /* the server's name; "" in a server */
};

/* ---- the library's input and output ---- */

static int tls_bio_read(BIO *bio, char *bytes, size_t size, size_t *length)
{
    struct tls_session *session = BIO_get_data(bio);
    const size_t left = session->input.length - session->n_taken;

    BIO_clear_retry_flags(bio);
    *length = 0;
    if (session->n_key_updates > MOST_KEY_UPDATES)
        return 0; /* a failure: nothing more is read */
    if (left == 0) {
        BIO_set_retry_read(bio);
        *length = 0;
        return 0;
    }
    *length = left < size ? left : size;
    memcpy(bytes, session->input.bytes + session->n_taken, *length);
    session->n_taken += *length;
    return 1;
}

static int tls_bio_write(BIO *bio, const char *bytes, size_t size, size_t *length)
{
    struct tls_session *session = BIO_get_data(bio);

    buffer_append(&session->output, bytes, size);
    *length = size;
    return !buffer_failed(&session->output);
}

static long tls_bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *tls_bio_method;

static void tls_bio_create_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "prservd");

    if (method && BIO_meth_set_read_ex(method, tls_bio_read) == 1 &&
        BIO_meth_set_write_ex(method, tls_bio_write) == 1 &&
        BIO_meth_set_ctrl(method, tls_bio_control) == 1)
        tls_bio_method = method;
}

/* Returns NULL if there is no memory. */
static BIO *tls_bio_new(struct tls_session *session)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    BIO *bio;

    (void)pthread_once(&once, tls_bio_create_method);
    bio = tls_bio_method ? BIO_new(tls_bio_method) : NULL;
    if (bio) {
        BIO_set_data(bio, session);
        BIO_set_init(bio, 1);
    }
    return bio;
}

void tls_count_key_updates(int is_written, int version, int type, const void *bytes, size_t length,
    SSL *ssl, void *argument)
{
    struct tls_session *session;

    (void)version;
    (void)argument;
    if (is_written || type != SSL3_RT_HANDSHAKE || length == 0 ||
        *(const unsigned char *)bytes != SSL3_MT_KEY_UPDATE)
        return;
    session = SSL_get_app_data(ssl);
    if (session)
        session->n_key_updates++;
}

/* ---- start and end ---- */

/* Returns the length of a host without a last dot, which only says that the name is complete. */
static size_t tls_host_length(const char *host)
{
    const size_t length = strlen(host);

    return length > 0 && host[length - 1] == '.' ? length - 1 : length;
}

/* Has the certificate checked for a name or a number, and tells the server which name it was. */
static int tls_expect_host(struct tls_session *session, const char *host, struct error *error)
{
    unsigned char number[sizeof(struct in6_addr)];
    const bool is_number =
        inet_pton(AF_INET, host, number) == 1 || inet_pton(AF_INET6, host, number) == 1;
    const size_t length = tls_host_length(host);
    int good;

    if (length >= sizeof session->host)
        return error_set(error, ERROR_INPUT, "'%.300s' is too long for the name of a host", host);
    if (host[0] == '.' || length == 0)
        return error_set(error, ERROR_INPUT, "'%.300s' is not the name of a host", host);
    memcpy(session->host, host, length);
    SSL_set_hostflags(session->ssl, HOST_FLAGS);
    if (is_number)
        good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session->ssl), host);
    else
        good = SSL_set1_host(session->ssl, session->host) == 1 &&
               SSL_set_tlsext_host_name(session->ssl, session->host) == 1;
    return good == 1 ? 0 : tls_describe_failure(error, ERROR_INPUT, host);
}

/* Continues a client's last session, if the certificate of that server is for this host, too: it is
 * not checked again. */
static void tls_continue_last(struct tls_session *session, const struct tls_context *context)
{
    const char *host = session->host;
    SSL_SESSION *last = tls_context_last_session(context);
    X509 *certificate = last ? SSL_SESSION_get0_peer(last) : NULL;

    if (certificate && tls_context_may_continue(last) &&
        (X509_check_ip_asc(certificate, host, 0) == 1 ||
            X509_check_host(certificate, host, 0, HOST_FLAGS, NULL) == 1))
        (void)SSL_set_session(session->ssl, last);
    ERR_clear_error();
}

static int tls_prepare(
    struct tls_session *session, struct tls_context *context, const char *host, struct error *error)
{
    BIO *bio = tls_bio_new(session);
    int result;

    session->ssl = SSL_new(context->ssl);
    if (!session->ssl || !bio) {
        BIO_free(bio);
        ERR_clear_error();
        return error_set_memory(error);
    }
    SSL_set_bio(session->ssl, bio, bio);
    SSL_set_app_data(session->ssl, session);
    if (context->is_server) {
        SSL_set_accept_state(session->ssl);
        return 0;
    }
    SSL_set_connect_state(session->ssl);
    result = tls_expect_host(session, host, error);
    if (result == 0)
        tls_continue_last(session, context);
    return result;
}

int tls_open(struct tls_session **session_out, struct tls_context *context, const char *host,
    struct error *error)
{
    struct tls_session *session = calloc(1, sizeof *session);
    int result;

    *session_out = NULL;
    if (!session)
        return error_set_memory(error);
    result = tls_prepare(session, context, host, error);
    if (result != 0) {
        tls_close(session);
        return result;
    }
    *session_out = session;
    return 0;
}

void tls_close(struct tls_session *session)
{
    if (!session)
        return;
    /* Otherwise the library would not let the next session continue this one. */
    if (session->is_complete)
        SSL_set_shutdown(session->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(session->ssl);
    buffer_free(&session->input);
    buffer_free(&session->output);
    free(session);
}

/* ---- failures ---- */

/* Forgets errors of earlier calls, which the library would take for those of the next one. There
 * hardly ever is one, and to clear the queue takes ten times as long as to look. */
static void tls_forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* Describes why the library fails. */
static enum tls_result tls_fail(const struct tls_session *session, struct error *error)
{
    const long verified = SSL_get_verify_result(session->ssl);

    if (buffer_failed(&session->output))
        (void)error_set_memory(error);
    else if (session->n_key_updates > MOST_KEY_UPDATES)
        (void)error_set(error, ERROR_SYSTEM, "it changes its key again and again");
    else if (verified != X509_V_OK)
        tls_describe_certificate(verified, session->host, error);
    else
        tls_describe_last_failure(session->host, error);
    ERR_clear_error();
    return TLS_FAILED;
}

/* Interprets what a function of the library returned, which was not its success. */
static enum tls_result tls_interpret(
    const struct tls_session *session, int returned, struct error *error)
{
    switch (SSL_get_error(session->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_ENDED;
    default:
        return tls_fail(session, error);
    }
}

/* ---- input ---- */

int tls_receive(struct tls_session *session, const char *bytes, size_t length)
{
    buffer_append(&session->input, bytes, length);
    return buffer_failed(&session->input) ? ERROR_MEMORY : 0;
}

/* Frees what the library has read. */
static void tls_drop_input(struct tls_session *session)
{
    buffer_drop_front(&session->input, session->n_taken);
    session->n_taken = 0;
    if (session->input.length == 0)
        buffer_reset(&session->input, KEEP_BYTES);
}

/* Returns whether the first byte can't begin a record of TLS. */
static bool tls_is_plain(const struct tls_session *session)
{
    const char *input = session->input.bytes;

    return !session->has_record && session->input.length > 0 && input[0] != RECORD_HANDSHAKE &&
           input[0] != RECORD_ALERT;
}

/* Returns whether a client's first message is longer than any client needs: the library would get
 * the memory for it at once. A first record that does not show the length counts as well. */
static bool tls_has_long_hello(const struct tls_session *session)
{
    const unsigned char *input = (const unsigned char *)session->input.bytes;

    if (session->has_record || session->input.length < HELLO_HEADER || input[0] != RECORD_HANDSHAKE)
        return false;
    return (input[3] << 8 | input[4]) < HELLO_HEADER - RECORD_HEADER ||
           ((size_t)input[6] << 16 | (size_t)input[7] << 8 | input[8]) > MOST_HELLO;
}

/* Returns whether the library has to wait for the length of a client's first message. */
static bool tls_is_short(const struct tls_session *session)
{
    return session->host[0] == '\0' && !session->has_record && session->input.length > 0 &&
           session->input.length < HELLO_HEADER && session->input.bytes[0] == RECORD_HANDSHAKE;
}

enum tls_result tls_negotiate(struct tls_session *session, struct error *error)
{
    int returned;

    if (session->is_complete)
        return TLS_OK;
    if (tls_is_plain(session))
        return TLS_PLAIN;
    if (tls_is_short(session))
        return TLS_MORE;
    if (session->input.length > MOST_UNREAD || tls_has_long_hello(session)) {
        (void)error_set(error, ERROR_SYSTEM, "its handshake is too long");
        return TLS_FAILED;
    }
    session->has_record = session->has_record || session->input.length > 0;
    tls_forget_errors();
    returned = SSL_do_handshake(session->ssl);
    tls_drop_input(session);
    session->is_complete = returned == 1;
    return returned == 1 ? TLS_OK : tls_interpret(session, returned, error);
}

enum tls_result tls_read(
    struct tls_session *session, char *bytes, size_t size, size_t *length, struct error *error)
{
    int returned;

    *length = 0;
    if (session->input.length == 0 && !SSL_has_pending(session->ssl) &&
        (SSL_get_shutdown(session->ssl) & SSL_RECEIVED_SHUTDOWN) == 0)
        return TLS_MORE;
    tls_forget_errors();
    returned = SSL_read_ex(session->ssl, bytes, size, length);
    if (session->n_taken == session->input.length)
        tls_drop_input(session);
    return returned == 1 ? TLS_OK : tls_interpret(session, returned, error);
}

size_t tls_held_bytes(const struct tls_session *session)
{
    return session->input.capacity + session->output.capacity;
}

/* ---- output ---- */

enum tls_result tls_write(struct tls_session *session, struct text text, struct error *error)
{
    size_t written;
    int returned;

    tls_forget_errors();
    returned = SSL_write_ex(session->ssl, text.bytes, text.length, &written);
    return returned == 1 ? TLS_OK : tls_interpret(session, returned, error);
}

void tls_shut(struct tls_session *session)
{
    ERR_clear_error();
    if (session->is_complete)
        (void)SSL_shutdown(session->ssl);
    ERR_clear_error();
}

void tls_take_output(struct tls_session *session, struct buffer *out)
{
    if (session->output.length == 0)
        return;
    buffer_append_text(out, buffer_text(&session->output));
    buffer_reset(&session->output, KEEP_BYTES);
}

/* ---- the other side ---- */

void tls_describe_peer(const struct tls_session *session, char *text, size_t size)
{
    const X509 *certificate = SSL_get0_peer_certificate(session->ssl);
    BIO *bio = certificate ? BIO_new(BIO_s_mem()) : NULL;
    int length = 0;

    /* RFC 2253 escapes control characters and what is not ASCII. */
    if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        length = BIO_read(bio, text, (int)size - 1);
    text[length > 0 ? length : 0] = '\0';
    BIO_free(bio);
    ERR_clear_error();
}
