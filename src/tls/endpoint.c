/* SPDX-License-Identifier: MIT */
#include "tls/endpoint.h"

#include "base/clock.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define DAY_S 86400
#define WARN_DAYS 21
#define WARN_AGAIN_MS ((uint64_t)DAY_S * 1000)

struct tls_endpoint {
    const struct tls_module *module;
    struct tls_options options;
    struct log *log;
    atomic_ullong warn_ms; /* when the next warning is due; 0: now */
    pthread_mutex_t mutex;
    struct tls_context *context; /* guarded by mutex */
};

/* Loads the module, which then stays loaded. Returns NULL, and describes the error, if that fails.
 */
static const struct tls_module *tls_endpoint_load(struct error *error)
{
#ifdef PRSERVD_TLS
    void *library = dlopen(PRSERVD_TLS, RTLD_NOW | RTLD_LOCAL);
    const struct tls_module *module = library ? dlsym(library, TLS_MODULE_NAME) : NULL;

    if (!module)
        (void)error_set(error, ERROR_INPUT, "the module for TLS can't be loaded: %s", dlerror());
    return module;
#else
    (void)error_set(error, ERROR_INPUT, "this prservd was built without TLS (-Dtls=disabled)");
    return NULL;
#endif
}

/* ---- the certificate's end ---- */

static void tls_endpoint_warn(struct tls_endpoint *endpoint)
{
    const int64_t expires_s = tls_endpoint_expires_s(endpoint);
    const int64_t left_s = expires_s - (int64_t)time(NULL);
    const time_t end = (time_t)expires_s;
    struct tm parts;
    char date[32] = "?";

    atomic_store(&endpoint->warn_ms, clock_ms() + WARN_AGAIN_MS);
    if (expires_s == 0 || left_s > (int64_t)WARN_DAYS * DAY_S)
        return;
    if (gmtime_r(&end, &parts))
        (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &parts);
    if (left_s <= 0)
        log_write(endpoint->log, LOG_ERROR,
            "The certificate %s has expired, at %s: connections with TLS fail",
            endpoint->options.certificate, date);
    else
        log_write(endpoint->log, LOG_WARNING,
            "The certificate %s ends within %lld days, at %s; renew it, then send SIGHUP",
            endpoint->options.certificate, (long long)((left_s + DAY_S - 1) / DAY_S), date);
}

void tls_endpoint_tick(struct tls_endpoint *endpoint)
{
    if (clock_ms() >= atomic_load(&endpoint->warn_ms))
        tls_endpoint_warn(endpoint);
}

int64_t tls_endpoint_expires_s(struct tls_endpoint *endpoint)
{
    int64_t expires_s;

    (void)pthread_mutex_lock(&endpoint->mutex);
    expires_s = endpoint->module->context_expires_s(endpoint->context);
    (void)pthread_mutex_unlock(&endpoint->mutex);
    return expires_s;
}

/* ---- sessions ---- */

const struct tls_module *tls_endpoint_module(const struct tls_endpoint *endpoint)
{
    return endpoint->module;
}

int tls_endpoint_begin(struct tls_endpoint *endpoint, const char *host,
    struct tls_session **session, struct error *error)
{
    int result;

    (void)pthread_mutex_lock(&endpoint->mutex);
    result = endpoint->module->open(session, endpoint->context, host, error);
    (void)pthread_mutex_unlock(&endpoint->mutex);
    return result;
}

/* ---- files ---- */

static bool tls_endpoint_has_expired(
    const struct tls_endpoint *endpoint, const struct tls_context *context)
{
    const int64_t expires_s = endpoint->module->context_expires_s(context);

    return expires_s != 0 && expires_s <= (int64_t)time(NULL);
}

void tls_endpoint_reload(struct tls_endpoint *endpoint)
{
    struct tls_context *context;
    struct tls_context *former;
    struct error error;

    int result = endpoint->module->context_open(&context, &endpoint->options, &error);

    if (result == 0 && tls_endpoint_has_expired(endpoint, context)) {
        endpoint->module->context_close(context);
        result = error_set(&error, ERROR_INPUT, "%.300s: the certificate has expired",
            endpoint->options.certificate);
    }
    if (result != 0) {
        log_write(endpoint->log, LOG_ERROR, "The certificates in use are kept: %s", error.text);
        return;
    }
    (void)pthread_mutex_lock(&endpoint->mutex);
    former = endpoint->context;
    endpoint->context = context;
    (void)pthread_mutex_unlock(&endpoint->mutex);
    endpoint->module->context_close(former);
    atomic_store(&endpoint->warn_ms, 0);
    log_write(endpoint->log, LOG_INFO, "Read the certificates %s again",
        endpoint->options.is_server ? "of the listeners" : "for connections to the server");
}

int tls_endpoint_create(struct tls_endpoint **endpoint_out, const struct tls_options *options,
    struct log *log, struct error *error)
{
    const struct tls_module *module = tls_endpoint_load(error);
    struct tls_endpoint *endpoint;
    int result;

    *endpoint_out = NULL;
    if (!module)
        return ERROR_INPUT;
    endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint)
        return error_set_memory(error);
    endpoint->module = module;
    endpoint->options = *options;
    endpoint->log = log;
    result = module->context_open(&endpoint->context, options, error);
    if (result != 0) {
        free(endpoint);
        return result;
    }
    (void)pthread_mutex_init(&endpoint->mutex, NULL);
    *endpoint_out = endpoint;
    return 0;
}

void tls_endpoint_free(struct tls_endpoint *endpoint)
{
    if (!endpoint)
        return;
    endpoint->module->context_close(endpoint->context);
    (void)pthread_mutex_destroy(&endpoint->mutex);
    free(endpoint);
}
