/* SPDX-License-Identifier: MIT */
#include "tls_certificates.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define X509_VERSION 2 /* which is version 3 */
#define LAST_DAY 30

/* Ends the process with a message if a step did not succeed. */
#define MUST(step) certificate_must((step), #step, __LINE__)

static void certificate_must(bool succeeded, const char *step, int line)
{
    if (succeeded)
        return;
    (void)fprintf(stderr, "%s:%d: fails: %s\n", __FILE__, line, step);
    abort();
}

static void certificate_add_extension(X509 *x509, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);

    MUST(extension != NULL);
    MUST(X509_add_ext(x509, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static void certificate_set_subject(X509 *x509, const struct certificate_wishes *wishes)
{
    X509_NAME *subject = X509_get_subject_name(x509);
    const int type = wishes->name_type != 0 ? wishes->name_type : V_ASN1_UTF8STRING;

    if (wishes->organisation)
        MUST(X509_NAME_add_entry_by_NID(subject, NID_organizationName, MBSTRING_UTF8,
                 (const unsigned char *)wishes->organisation, -1, -1, 0) == 1);
    if (wishes->name.length > 0)
        MUST(X509_NAME_add_entry_by_NID(subject, NID_commonName, type,
                 (const unsigned char *)wishes->name.bytes, (int)wishes->name.length, -1, 0) == 1);
}

void certificate_create(struct certificate *certificate, const struct certificate *issuer,
    const struct certificate_wishes *wishes)
{
    static long serial;
    const bool has_days = wishes->first_day != 0 || wishes->last_day != 0;
    X509 *x509 = X509_new();

    certificate->x509 = x509;
    certificate->key = EVP_EC_gen("P-256");
    MUST(x509 != NULL && certificate->key != NULL);
    if (!issuer)
        issuer = certificate;
    MUST(X509_set_version(x509, X509_VERSION) == 1);
    MUST(ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial) == 1);
    MUST(X509_time_adj_ex(X509_getm_notBefore(x509), has_days ? wishes->first_day : -1, 0, NULL) !=
         NULL);
    MUST(X509_time_adj_ex(X509_getm_notAfter(x509), has_days ? wishes->last_day : LAST_DAY,
             wishes->last_s, NULL) != NULL);
    certificate_set_subject(x509, wishes);
    MUST(X509_set_issuer_name(x509, X509_get_subject_name(issuer->x509)) == 1);
    MUST(X509_set_pubkey(x509, certificate->key) == 1);
    if (issuer == certificate)
        certificate_add_extension(x509, NID_basic_constraints, "critical,CA:TRUE");
    if (wishes->hosts)
        certificate_add_extension(x509, NID_subject_alt_name, wishes->hosts);
    MUST(X509_sign(x509, issuer->key, EVP_sha256()) > 0);
}

static FILE *certificate_open_file(const char *name)
{
    const int descriptor = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "a") : NULL;

    MUST(file != NULL);
    MUST(fchmod(descriptor, 0600) == 0);
    return file;
}

void certificate_write(const struct certificate *certificate, const char *name)
{
    FILE *file = certificate_open_file(name);

    MUST(PEM_write_X509(file, certificate->x509) == 1);
    MUST(fclose(file) == 0);
}

void certificate_write_key(
    const struct certificate *certificate, const char *name, const char *passphrase)
{
    FILE *file = certificate_open_file(name);

    MUST(PEM_write_PKCS8PrivateKey(file, certificate->key, passphrase ? EVP_aes_256_cbc() : NULL,
             passphrase, passphrase ? (int)strlen(passphrase) : 0, NULL, NULL) == 1);
    MUST(fclose(file) == 0);
}

void certificate_free(struct certificate *certificate)
{
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
    *certificate = (struct certificate){.x509 = NULL};
}
