/* SPDX-License-Identifier: MIT */
#include "tls/context.h"

#include "tls/pem_file.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int tls_describe_failure(struct error *error, int code, const char *what)
{
    const unsigned long last = ERR_peek_last_error();
    const char *reason = last != 0 ? ERR_reason_error_string(last) : NULL;

    ERR_clear_error();
    return error_set(error, code, "%.300s: %s", what, reason ? reason : "the library fails");
}

/* ---- files ---- */

/* Refuses a file that needs a passphrase, which nobody could enter. */
static int tls_context_on_passphrase(char *passphrase, int size, int is_writing, void *unused)
{
    (void)passphrase;
    (void)size;
    (void)is_writing;
    (void)unused;
    return -1;
}

static int tls_refuse_file(const char *file, const char *reason, struct error *error)
{
    ERR_clear_error();
    return error_set(error, ERROR_INPUT, "%.300s: %s", file, reason);
}

/* Reads our certificate, those of its chain, and the key. */
static int tls_context_load_certificate(
    struct tls_context *context, const struct tls_options *options, struct error *error)
{
    const char *key_file = options->key ? options->key : options->certificate;
    EVP_PKEY *key = NULL;
    int result = pem_file_check(options->certificate, error);

    if (result == 0 && SSL_CTX_use_certificate_chain_file(context->ssl, options->certificate) != 1)
        result = tls_refuse_file(options->certificate, "no certificate in PEM format", error);
    if (result == 0)
        result = pem_file_read_key(&key, key_file, error);
    if (result == 0 && (SSL_CTX_use_PrivateKey(context->ssl, key) != 1 ||
                           SSL_CTX_check_private_key(context->ssl) != 1)) {
        ERR_clear_error();
        result =
            error_set(error, ERROR_INPUT, "%.200s: the key is not that of the certificate %.200s",
                key_file, options->certificate);
    }
    EVP_PKEY_free(key);
    return result;
}

/* Lists the CAs that a server accepts, for its clients. Returns whether there is one. */
static bool tls_context_name_authorities(const struct tls_context *context)
{
    const STACK_OF(X509_OBJECT) *objects =
        X509_STORE_get0_objects(SSL_CTX_get_cert_store(context->ssl));
    bool has_one = false;

    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

        if (!certificate)
            continue; /* a list of revoked certificates */
        if (context->is_server && SSL_CTX_add_client_CA(context->ssl, certificate) != 1)
            return false;
        has_one = true;
    }
    return has_one;
}

static int tls_context_load_ca(
    struct tls_context *context, const struct tls_options *options, struct error *error)
{
    int result = pem_file_check(options->ca, error);

    if (result == 0 && (SSL_CTX_load_verify_file(context->ssl, options->ca) != 1 ||
                           !tls_context_name_authorities(context)))
        result = tls_refuse_file(options->ca, "no certificate of a CA in PEM format", error);
    return result;
}

static int64_t tls_context_find_end(const struct tls_context *context)
{
    const X509 *certificate = SSL_CTX_get0_certificate(context->ssl);
    struct tm end;

    if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
        return 0;
    return (int64_t)timegm(&end);
}

/* ---- a client's last session ---- */

/* It belongs to the library's context, which lives as long as a session needs it. */
static int tls_session_index = -1;

static void tls_context_free_session(
    void *parent, void *session, CRYPTO_EX_DATA *data, int index, long number, void *pointer)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)number;
    (void)pointer;
    SSL_SESSION_free(session);
}

static void tls_context_create_index(void)
{
    tls_session_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tls_context_free_session);
}

static int tls_context_keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_CTX *context = SSL_get_SSL_CTX(ssl);
    SSL_SESSION *last = SSL_CTX_get_ex_data(context, tls_session_index);

    if (SSL_CTX_set_ex_data(context, tls_session_index, session) != 1)
        return 0; /* the library frees it */
    SSL_SESSION_free(last);
    return 1;
}

SSL_SESSION *tls_context_last_session(const struct tls_context *context)
{
    return SSL_CTX_get_ex_data(context->ssl, tls_session_index);
}

bool tls_context_may_continue(SSL_SESSION *session)
{
    const X509 *certificate = SSL_SESSION_get0_peer(session);

    return !certificate || X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

/* Decides whether a client may continue the session of a ticket. */
static SSL_TICKET_RETURN tls_context_on_ticket(SSL *ssl, SSL_SESSION *session,
    const unsigned char *name, size_t name_length, SSL_TICKET_STATUS status, void *argument)
{
    (void)ssl;
    (void)name;
    (void)name_length;
    (void)argument;
    if (session && !tls_context_may_continue(session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    switch (status) {
    case SSL_TICKET_SUCCESS:
        return SSL_TICKET_RETURN_USE;
    case SSL_TICKET_SUCCESS_RENEW:
        return SSL_TICKET_RETURN_USE_RENEW;
    default:
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
}

/* ---- start and end ---- */

static void tls_context_set_rules(SSL_CTX *ssl, const struct tls_options *options)
{
    static const unsigned char name[] = "prservd";

    (void)SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_default_passwd_cb(ssl, tls_context_on_passphrase);
    SSL_CTX_set_msg_callback(ssl, tls_count_key_updates);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (options->is_server) {
        /* Saves 34 KB for each idle connection. A client has few, and keeps its buffers. */
        (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
        /* Tickets hold all that is needed to resume a session. */
        (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
        (void)SSL_CTX_set_session_ticket_cb(ssl, NULL, tls_context_on_ticket, NULL);
        (void)SSL_CTX_set_session_id_context(ssl, name, sizeof name - 1);
        (void)SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
        if (options->ca)
            SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    } else {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
        (void)SSL_CTX_set_session_cache_mode(
            ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ssl, tls_context_keep_session);
    }
}

static int tls_context_load(
    struct tls_context *context, const struct tls_options *options, struct error *error)
{
    int result = 0;

    if (options->is_server && !options->certificate)
        return error_set(error, ERROR_INPUT, "TLS needs a certificate and its key");
    if (options->key && !options->certificate)
        return error_set(
            error, ERROR_INPUT, "%.200s: a key without a certificate is of no use", options->key);
    tls_context_set_rules(context->ssl, options);
    if (options->certificate)
        result = tls_context_load_certificate(context, options, error);
    if (result == 0 && options->ca)
        result = tls_context_load_ca(context, options, error);
    else if (result == 0 && !options->is_server &&
             SSL_CTX_set_default_verify_paths(context->ssl) != 1)
        result = tls_describe_failure(error, ERROR_INPUT, "the system's certificates");
    context->expires_s = tls_context_find_end(context);
    return result;
}

int tls_context_open(
    struct tls_context **context_out, const struct tls_options *options, struct error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct tls_context *context;
    int result;

    *context_out = NULL;
    (void)OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
    (void)pthread_once(&once, tls_context_create_index);
    ERR_clear_error();
    context = calloc(1, sizeof *context);
    if (!context)
        return error_set_memory(error);
    context->is_server = options->is_server;
    context->ssl = SSL_CTX_new(options->is_server ? TLS_server_method() : TLS_client_method());
    result = context->ssl ? tls_context_load(context, options, error) : error_set_memory(error);
    if (result != 0) {
        tls_context_close(context);
        return result;
    }
    *context_out = context;
    return 0;
}

void tls_context_close(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}

int64_t tls_context_expires_s(const struct tls_context *context)
{
    return context->expires_s;
}
