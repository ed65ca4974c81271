/* SPDX-License-Identifier: MIT */
/* Common reasons have sentences of their own, which say what to do. For all others the library's
 * text is a detail. */
#include "tls/reason.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

/* ---- certificates ---- */

/* Returns a sentence for what is wrong with a certificate, or NULL. */
static const char *tls_explain_certificate(long why)
{
    switch (why) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "its certificate has expired, or that of its CA";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "its certificate is not valid yet, or that of its CA; one of the clocks may be "
               "wrong";
    case X509_V_ERR_INVALID_PURPOSE:
        return "its certificate is not one for this purpose";
    case X509_V_ERR_INVALID_CA:
        return "its certificate was signed with a certificate that is not one of a CA";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "its certificate was signed by another CA with the same name";
    default:
        return NULL;
    }
}

void tls_describe_certificate(long why, const char *host, struct error *error)
{
    const char *option = host[0] != '\0' ? "--tls-ca" : "--tls-client-ca";
    const char *text = tls_explain_certificate(why);

    if (why == X509_V_ERR_HOSTNAME_MISMATCH || why == X509_V_ERR_IP_ADDRESS_MISMATCH)
        (void)error_set(error, ERROR_SYSTEM, "its certificate is not for %s", host);
    else if (why == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT)
        (void)error_set(error, ERROR_SYSTEM,
            "its certificate is self-signed, and not in the file of %s", option);
    else if (why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
             why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
             why == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
             why == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN)
        (void)error_set(error, ERROR_SYSTEM, "its certificate is not of a known CA (%s)", option);
    else if (text)
        (void)error_set(error, ERROR_SYSTEM, "%s", text);
    else
        (void)error_set(error, ERROR_SYSTEM, "its certificate is not accepted: %s",
            X509_verify_cert_error_string(why));
}

/* ---- failures ---- */

/* Returns a sentence for an alert of the other side, or NULL. */
static const char *tls_explain_alert(int reason, bool is_server)
{
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "it asks for a certificate (--tls-cert)";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "it does not trust the CA of our certificate";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        return "it does not accept our certificate";
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
        return "our certificate is not one for this purpose";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "our certificate has expired";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return is_server ? "it does not accept what we offer"
                         : "it does not accept what we offer; it may want a certificate "
                           "(--tls-cert)";
    case SSL_R_TLSV1_UNRECOGNIZED_NAME:
        return "it has no certificate for this name";
    default:
        return NULL;
    }
}

/* Returns a sentence for a failure of this side, or NULL. */
static const char *tls_explain_failure(int reason)
{
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return "it shows no certificate";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
        return "no version of TLS in common; 1.2 or 1.3 is needed";
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
        return "no cipher or algorithm of TLS in common";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_BAD_RECORD_TYPE:
        return "what it sends is not TLS";
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
        return "what it sends can't be decrypted";
    case SSL_R_BINDER_DOES_NOT_VERIFY:
        return "it does not have the key of the session that it wants to resume";
    default:
        return NULL;
    }
}

/* Returns a sentence for an error of the library, or NULL. */
static const char *tls_explain(unsigned long code, bool is_server)
{
    const int reason = code != 0 ? ERR_GET_REASON(code) : 0;
    const char *text = tls_explain_alert(reason, is_server);

    return text ? text : tls_explain_failure(reason);
}

void tls_describe_last_failure(const char *host, struct error *error)
{
    const unsigned long last = ERR_peek_last_error();
    const char *detail = last != 0 ? ERR_reason_error_string(last) : NULL;
    const char *text = tls_explain(last, host[0] == '\0');

    /* From OpenSSL 3.2 on, the last error may only say that the record layer has failed. */
    if (!text)
        text = tls_explain(ERR_peek_error(), host[0] == '\0');
    if (text)
        (void)error_set(error, ERROR_SYSTEM, "%s", text);
    else if (detail)
        (void)error_set(error, ERROR_SYSTEM, "TLS fails (%s)", detail);
    else
        (void)error_set(error, ERROR_SYSTEM, "TLS fails");
}
