/* SPDX-License-Identifier: MIT */
/* SipHash-1-3, with the values that other implementations give. */
#include "base/hash.h"

#include "unit.h"

/* Bytes 0, 1, 2, … */
static struct text counted(size_t length)
{
    static char bytes[64];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    return (struct text){.bytes = bytes, .length = length};
}

/* PYTHONHASHSEED=0 python3 -c 'print(hex(hash(bytes(range(63))) % 2**64))', and so on. */
static void with_the_key_zero_it_is_the_hash_of_python(void **state)
{
    static const struct {
        size_t length;
        uint64_t hash;
    } vectors[] = {
        {1, 0x68a914128e01e473},
        {7, 0x2f098ab0c751325a},
        {8, 0xead411e67ebe2eea},
        {9, 0x75927f9d95124362},
        {15, 0xf30eb725bb91c9ea},
        {16, 0x8972188433a5c5b7},
        {63, 0x385d3e39e5f37359},
    };
    static const uint64_t key[2] = {0, 0};

    (void)state;
    for (size_t i = 0; i < COUNT(vectors); i++)
        assert_true(hash_text_with_key(key, counted(vectors[i].length)) == vectors[i].hash);
}

/* The key of the paper's appendix, and what Rust's tests have for it. */
static void the_key_counts(void **state)
{
    static const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

    (void)state;
    assert_true(hash_text_with_key(key, TEXT("")) == 0xabac0158050fc4dc);
    assert_true(hash_text_with_key(key, counted(1)) == 0xc9f49bf37d57ca93);
    assert_true(hash_text_with_key(key, counted(2)) == 0x82cb9b024dc7d44d);
}

static void a_text_has_one_hash_within_a_process(void **state)
{
    static const uint64_t no_key[2] = {0, 0};
    const char copy[] = "m4-1.4.19-r0";

    (void)state;
    assert_true(hash_text(TEXT("m4-1.4.19-r0")) == hash_text(text_of(copy)));
    assert_true(hash_text(TEXT("m4-1.4.19-r0")) != hash_text(TEXT("m4-1.4.19-r1")));
    assert_true(hash_text(TEXT("")) == hash_text((struct text){.bytes = NULL}));
    assert_true(hash_text(TEXT("a")) != hash_text(TEXT("a\0")));
    assert_true(hash_text(TEXT("a")) != hash_text_with_key(no_key, TEXT("a")));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_the_key_zero_it_is_the_hash_of_python),
        cmocka_unit_test(the_key_counts),
        cmocka_unit_test(a_text_has_one_hash_within_a_process),
    };

    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
