/* SPDX-License-Identifier: MIT */
/* The words after an address: whatever is accepted keeps its promises, and an error says what is
 * wrong. Input: the words, up to the first NUL. */
#include "daemon/listener_words.h"

#include "server/access.h"

#include "fuzz.h"

#include <string.h>

#define TEXT_BYTES 4096

static void check_list(const struct networks *networks)
{
    for (size_t i = 0; i < networks->n; i++) {
        const struct network_range *range = &networks->ranges[i];

        REQUIRE(range->first.bytes[0] == range->last.bytes[0]);
        REQUIRE(memcmp(&range->first, &range->last, sizeof range->first) <= 0);
        REQUIRE(i == 0 || memcmp(&range[-1].last, &range->first, sizeof range->first) < 0);
        REQUIRE(networks_contain(networks, &range->first));
        REQUIRE(networks_contain(networks, &range->last));
    }
}

static void check_options(const struct listener_options *options)
{
    char words[LISTENER_WORDS_BYTES];

    listener_options_describe(options, words);
    REQUIRE(strlen(words) < sizeof words && words[0] != ',');
    REQUIRE(options->rights == LISTENER_FULL || options->has_rights);
    if (!options->access)
        return;
    check_list(&options->access->allowed.networks);
    check_list(&options->access->writers.networks);
    check_list(&options->access->relays.networks);
    REQUIRE(
        access_list_is_empty(&options->access->writers) || options->rights != LISTENER_READ_ONLY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[TEXT_BYTES];
    struct listener_options options = {.rights = LISTENER_FULL};
    struct error error = {.text = ""};

    /* The system's lists of users are not what is tested. */
    if (size >= sizeof text || memmem(data, size, "id:", 3))
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (listener_words_read(&options, text, "the address", &error) == 0)
        check_options(&options);
    else
        REQUIRE(error.text[0] != '\0');
    REQUIRE(!listener_words_are(text) || text[0] != ',');
    (void)listener_words_find(text);
    listener_words_release(&options);
    return 0;
}
