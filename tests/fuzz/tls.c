/* SPDX-License-Identifier: MIT */
/* A session of TLS whose other side is OpenSSL itself. Whatever happens to the bytes on the way:
 * what is read is the beginning of what the other side wrote; the negotiation is complete only if
 * the other side has shown the certificate that was asked for; the end is the other side's, and the
 * session keeps little memory. After a failure, the session is closed.
 *
 * Input: a byte that chooses the two sides (KIND_...), and steps: a byte that chooses one
 * (STEP_...), and its arguments. */
#include "tls/tls.h"

#include "fuzz.h"
#include "tls_world.h"

#include <openssl/err.h>
#include <string.h>

#define SUBJECT_BYTES 64
#define MOST_GIVEN ((size_t)320 * 1024) /* of all bytes for the session */
#define MOST_HELD ((size_t)1024 * 1024)
#define MOST_KEPT ((size_t)4 * 1024) /* when nothing is left to read */
#define RUN_BYTES 1024
#define MOST_STEPS 200

/* The first byte. */
#define KIND_CLIENT 1   /* the session is a client's; otherwise, a server's */
#define KIND_WANTS 2    /* the server wants a certificate */
#define KIND_SHOWS 4    /* the client shows one */
#define KIND_STRANGER 8 /* the other side's certificate is of an unknown CA */
#define KIND_TLS_1_2 16 /* the other side speaks no newer version */
#define KIND_AGAIN 32   /* the session continues another one */

enum step {
    STEP_PASS_ALL,   /* gives the session what the other side has sent */
    STEP_PASS_SOME,  /* LENGTH: the beginning of it */
    STEP_CHANGE,     /* AT BITS: changes byte AT * 7 of it, or so */
    STEP_DROP,       /* LENGTH: the beginning is lost */
    STEP_REPEAT,     /* LENGTH: the beginning comes twice */
    STEP_INSERT,     /* LENGTH BYTES: puts bytes before it */
    STEP_INSERT_RUN, /* BYTE COUNT: the same with RUN_BYTES * COUNT equal bytes */
    STEP_READ,       /* LENGTH: reads once */
    STEP_READ_ALL,   /* reads until nothing is left */
    STEP_WRITE,      /* LENGTH: writes LENGTH * LENGTH bytes */
    STEP_SHUT,       /* the session ends its side */
    STEP_HEAR,       /* the other side gets what the session has sent */
    STEP_SAY,        /* LENGTH: the other side writes LENGTH * LENGTH bytes */
    STEP_SAY_END,    /* it ends its side */
    STEP_SAY_MORE,   /* it changes its key (TLS 1.3), or wants another handshake (TLS 1.2) */
    STEP_TALK,       /* both do all that they can */
    N_STEPS
};

/* ---- two sides ---- */

/* One direction: how much of the world's text. */
struct stream {
    size_t n_written, n_read;
};

struct check {
    const struct tls_world *world;
    unsigned kind;
    struct tls_context *context;
    struct tls_session *session;
    SSL *other;
    struct buffer input;  /* for the session */
    struct buffer output; /* of the session */
    struct stream said, heard;
    size_t n_given;
    uint8_t first_byte; /* of those that were given */
    bool is_complete, is_over, has_ended, has_shut, other_has_shut;
};

/* Checks that these bytes follow those that were read before. */
static void check_read(
    const struct check *check, struct stream *stream, const char *bytes, size_t length)
{
    REQUIRE(length <= stream->n_written - stream->n_read);
    REQUIRE(memcmp(bytes, check->world->text + stream->n_read, length) == 0);
    stream->n_read += length;
}

/* Returns the next text to write, of length * length bytes at most. */
static struct text next_text(const struct check *check, const struct stream *stream, size_t length)
{
    const size_t most = sizeof check->world->text - stream->n_written;

    return (struct text){.bytes = check->world->text + stream->n_written,
        .length = length * length < most ? length * length : most};
}

/* ---- the other side ---- */

static void open_other(struct check *check, SSL_SESSION *last)
{
    const struct tls_world *world = check->world;
    const bool is_server = check->kind & KIND_CLIENT;
    const struct certificate *certificate = check->kind & KIND_STRANGER ? &world->stranger
                                            : is_server                 ? &world->server
                                                                        : &world->farm;
    SSL *other = SSL_new(world->others[is_server ? 0 : 1]);

    REQUIRE(other != NULL);
    SSL_set_bio(other, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (is_server || check->kind & KIND_SHOWS) {
        REQUIRE(SSL_use_certificate(other, certificate->x509) == 1);
        REQUIRE(SSL_use_PrivateKey(other, certificate->key) == 1);
    }
    if (is_server && check->kind & KIND_WANTS)
        SSL_set_verify(other, SSL_VERIFY_PEER, NULL);
    if (check->kind & KIND_TLS_1_2)
        REQUIRE(SSL_set_max_proto_version(other, TLS1_2_VERSION) == 1);
    if (last)
        REQUIRE(SSL_set_session(other, last) == 1);
    if (is_server)
        SSL_set_accept_state(other);
    else
        SSL_set_connect_state(other);
    check->other = other;
}

/* Takes what the other side has for the session. */
static void take_input(struct check *check)
{
    char bytes[4096];
    int length;

    while ((length = BIO_read(SSL_get_wbio(check->other), bytes, sizeof bytes)) > 0)
        buffer_append(&check->input, bytes, (size_t)length);
    ERR_clear_error();
}

/* The other side gets what the session has sent, and goes on. */
static void hear(struct check *check)
{
    char bytes[4096];
    size_t length;

    if (check->output.length > 0)
        REQUIRE(BIO_write(SSL_get_rbio(check->other), check->output.bytes,
                    (int)check->output.length) > 0);
    buffer_reset(&check->output, 0);
    while (SSL_read_ex(check->other, bytes, sizeof bytes, &length) == 1)
        check_read(check, &check->said, bytes, length);
    take_input(check);
}

static void say(struct check *check, size_t length)
{
    const struct text text = next_text(check, &check->heard, length);
    size_t written;

    if (SSL_is_init_finished(check->other) && !check->other_has_shut && text.length > 0 &&
        SSL_write_ex(check->other, text.bytes, text.length, &written) == 1)
        check->heard.n_written += written;
    take_input(check);
}

static void say_end(struct check *check)
{
    if (SSL_is_init_finished(check->other)) {
        (void)SSL_shutdown(check->other);
        check->other_has_shut = true;
    }
    take_input(check);
}

static void say_more(struct check *check)
{
    if (!SSL_is_init_finished(check->other) || check->other_has_shut)
        return;
    if (SSL_version(check->other) == TLS1_2_VERSION)
        (void)SSL_renegotiate(check->other);
    else
        (void)SSL_key_update(check->other, SSL_KEY_UPDATE_REQUESTED);
    (void)SSL_do_handshake(check->other);
    take_input(check);
}

/* ---- the session ---- */

static void open_session(struct check *check)
{
    const bool is_client = check->kind & KIND_CLIENT;
    const bool wants = check->kind & KIND_WANTS;
    struct tls_context *context = is_client ? check->context : check->world->servers[wants];
    struct error error;

    REQUIRE(tls_open(&check->session, context, is_client ? TLS_WORLD_HOST : NULL, &error) == 0);
}

/* Takes what the session has sent, and checks what it keeps. */
static void check_memory(struct check *check, enum tls_result result)
{
    const size_t held = tls_held_bytes(check->session);

    REQUIRE(held < MOST_HELD);
    tls_take_output(check->session, &check->output);
    REQUIRE(result != TLS_MORE || tls_held_bytes(check->session) <= MOST_KEPT);
}

static void check_printable(const char *text)
{
    for (; *text != '\0'; text++)
        REQUIRE(*text >= ' ' && *text <= '~');
}

static void check_result(struct check *check, enum tls_result result, const struct error *error)
{
    check_memory(check, result);
    check->is_over = result == TLS_FAILED;
    if (!check->is_over)
        return;
    REQUIRE(error->text[0] != '\0');
    check_printable(error->text);
}

/* After the negotiation: has the other side shown what it had to show? */
static void check_other(const struct check *check)
{
    const bool is_client = check->kind & KIND_CLIENT;
    const bool is_asked = is_client || check->kind & KIND_WANTS;
    const bool has_shown = is_client || check->kind & KIND_SHOWS;
    char subject[SUBJECT_BYTES];

    tls_describe_peer(check->session, subject, sizeof subject);
    REQUIRE(!is_asked || (has_shown && !(check->kind & KIND_STRANGER)));
    REQUIRE(text_is(text_of(subject), !is_asked ? "" : is_client ? "CN=server" : "CN=farm-7"));
}

static void negotiate(struct check *check)
{
    struct error error = {.text = ""};
    enum tls_result result;

    if (check->is_over || check->is_complete)
        return;
    result = tls_negotiate(check->session, &error);
    check_result(check, result, &error);
    check->is_complete = result == TLS_OK;
    if (check->is_complete)
        check_other(check);
    REQUIRE(result != TLS_PLAIN || (check->first_byte != 21 && check->first_byte != 22));
    check->is_over = result != TLS_OK && result != TLS_MORE;
}

/* Gives the session bytes from the beginning of the input. */
static void pass(struct check *check, size_t length)
{
    if (length > check->input.length)
        length = check->input.length;
    if (check->is_over || length == 0 || length > MOST_GIVEN - check->n_given)
        return;
    if (check->n_given == 0)
        check->first_byte = (uint8_t)check->input.bytes[0];
    check->n_given += length;
    REQUIRE(tls_receive(check->session, check->input.bytes, length) == 0);
    buffer_drop_front(&check->input, length);
    negotiate(check);
}

/* Returns whether there may be more to read. */
static bool read_once(struct check *check, size_t size)
{
    struct error error = {.text = ""};
    size_t length = size + 1;
    enum tls_result result;
    char *bytes;

    if (!check->is_complete || check->is_over)
        return false;
    bytes = malloc(size); /* so that a sanitizer sees what is written behind it */
    REQUIRE(bytes != NULL);
    result = tls_read(check->session, bytes, size, &length, &error);
    REQUIRE(length <= size && (length > 0) == (result == TLS_OK));
    check_read(check, &check->heard, bytes, length);
    free(bytes);
    check_result(check, result, &error);
    REQUIRE(result != TLS_PLAIN);
    REQUIRE(result != TLS_ENDED || check->other_has_shut);
    REQUIRE(result != TLS_OK || !check->has_ended);
    check->has_ended = check->has_ended || result == TLS_ENDED;
    return result == TLS_OK;
}

static void read_all(struct check *check)
{
    while (read_once(check, 4096))
        continue;
}

static void write_once(struct check *check, size_t length)
{
    const struct text text = next_text(check, &check->said, length);
    struct error error;

    if (!check->is_complete || check->is_over || check->has_shut || text.length == 0)
        return;
    REQUIRE(tls_write(check->session, text, &error) == TLS_OK);
    check->said.n_written += text.length;
    check_memory(check, TLS_OK);
}

static void shut(struct check *check)
{
    if (check->is_over)
        return;
    tls_shut(check->session);
    check->has_shut = check->is_complete;
    check_memory(check, TLS_OK);
}

/* Both do what they can, until nothing moves. */
static void talk(struct check *check)
{
    size_t n_given;

    do {
        n_given = check->n_given;
        negotiate(check);
        hear(check);
        pass(check, check->input.length);
        read_all(check);
    } while (check->n_given > n_given || check->output.length > 0);
}

/* ---- the way to the session ---- */

static void insert(struct check *check, struct text text)
{
    struct buffer changed = BUFFER_EMPTY;

    if (check->input.length > MOST_GIVEN)
        return;
    buffer_append_text(&changed, text);
    buffer_append_text(&changed, buffer_text(&check->input));
    buffer_free(&check->input);
    check->input = changed;
}

static void insert_run(struct check *check, uint8_t byte, unsigned count)
{
    struct buffer run = BUFFER_EMPTY;
    char bytes[RUN_BYTES];

    memset(bytes, byte, sizeof bytes);
    for (; count > 0; count--)
        buffer_append(&run, bytes, sizeof bytes);
    insert(check, buffer_text(&run));
    buffer_free(&run);
}

/* Takes a length, and as many of the bytes. */
static struct text take_text(struct fuzz_input *input)
{
    size_t length = fuzz_take_byte(input);
    struct text text;

    length = length < input->left ? length : input->left;
    text = (struct text){.bytes = (const char *)input->at, .length = length};
    input->at += length;
    input->left -= length;
    return text;
}

static void disturb(struct check *check, enum step step, struct fuzz_input *input)
{
    const uint8_t first = step == STEP_INSERT ? 0 : fuzz_take_byte(input);
    const size_t length = first < check->input.length ? first : check->input.length;

    if (step == STEP_CHANGE && check->input.length > 0)
        check->input.bytes[first * 7u % check->input.length] ^= (char)fuzz_take_byte(input);
    else if (step == STEP_DROP)
        buffer_drop_front(&check->input, length);
    else if (step == STEP_REPEAT)
        insert(check, (struct text){check->input.bytes, length});
    else if (step == STEP_INSERT)
        insert(check, take_text(input));
    else if (step == STEP_INSERT_RUN)
        insert_run(check, first, fuzz_take_byte(input));
}

/* ---- steps ---- */

static void do_step(struct check *check, struct fuzz_input *input)
{
    const enum step step = fuzz_take_byte(input) % N_STEPS;

    switch (step) {
    case STEP_PASS_ALL:
        pass(check, check->input.length);
        break;
    case STEP_PASS_SOME:
        pass(check, fuzz_take_byte(input));
        break;
    case STEP_READ:
        (void)read_once(check, 1 + (size_t)fuzz_take_byte(input));
        break;
    case STEP_READ_ALL:
        read_all(check);
        break;
    case STEP_WRITE:
        write_once(check, fuzz_take_byte(input));
        break;
    case STEP_SHUT:
        shut(check);
        break;
    case STEP_HEAR:
        hear(check);
        break;
    case STEP_SAY:
        say(check, fuzz_take_byte(input));
        break;
    case STEP_SAY_END:
        say_end(check);
        break;
    case STEP_SAY_MORE:
        say_more(check);
        break;
    case STEP_TALK:
        talk(check);
        break;
    default:
        disturb(check, step, input);
    }
}

static void open_both(struct check *check, SSL_SESSION *last)
{
    open_session(check);
    open_other(check, last);
    negotiate(check);
}

static void close_both(struct check *check)
{
    tls_close(check->session);
    SSL_free(check->other);
    ERR_clear_error();
    buffer_free(&check->input);
    buffer_free(&check->output);
    *check = (struct check){.world = check->world, .kind = check->kind, .context = check->context};
}

/* Has a first pair of sessions, without disturbances. Returns what the other side, as a client,
 * can continue; or NULL. */
static SSL_SESSION *have_first(struct check *check)
{
    SSL_SESSION *last = NULL;

    open_both(check, NULL);
    talk(check);
    say(check, 1);
    write_once(check, 1);
    talk(check);
    if (check->is_complete && !check->is_over) {
        shut(check);
        say_end(check);
        talk(check);
        if (!(check->kind & KIND_CLIENT))
            last = SSL_get1_session(check->other);
    }
    close_both(check);
    return last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tls_world *world = tls_world_get();
    struct fuzz_input input = {.at = data, .left = size};
    struct check check = {.world = world, .kind = fuzz_take_byte(&input)};
    SSL_SESSION *last = NULL;

    tls_world_restart();
    if (check.kind & KIND_CLIENT) {
        const struct tls_options options = {
            .ca = world->ca_file, .certificate = check.kind & KIND_SHOWS ? world->farm_file : NULL};
        struct error error;

        REQUIRE(tls_context_open(&check.context, &options, &error) == 0);
    }
    if (check.kind & KIND_AGAIN)
        last = have_first(&check);
    open_both(&check, last);
    for (int i = 0; i < MOST_STEPS && input.left > 0; i++)
        do_step(&check, &input);
    close_both(&check);
    SSL_SESSION_free(last);
    tls_context_close(check.context);
    return 0;
}
