/* SPDX-License-Identifier: MIT */
/* From a package to the keys that a build may have used. */
#include "feed/mapping.h"
#include "feed/split.h"

#include "unit.h"

#include <string.h>

static void assert_split(const char *release, const char *pr, const char *revision, bool certain)
{
    struct text found_pr;
    struct text found_revision;
    bool is_certain = true;

    assert_true(split_release(text_of(release), &found_pr, &found_revision, &is_certain));
    assert_true(text_is(found_pr, pr));
    assert_true(text_is(found_revision, revision));
    assert_int_equal(is_certain, certain);
}

static void test_pr_ends_before_the_last_dotted_numbers(void **state)
{
    (void)state;
    assert_split("r0.7", "r0", "7", true);
    assert_split("r0.1.3", "r0", "1.3", true);
    assert_split("r0+x.7", "r0+x", "7", true);
    assert_split("r3.local.8.1", "r3.local", "8.1", true);
    assert_split("r0.7+dist", "r0", "7", false);
    assert_split("r0.1-x.2.y", "r0.1-x", "2", false);
}

static void test_a_release_without_a_revision(void **state)
{
    static const char *const releases[] = {"", "r0", "r0.", ".7", "r0..7", "r0.x", "7"};
    struct text pr;
    struct text revision;
    bool certain = true;

    (void)state;
    for (size_t i = 0; i < sizeof releases / sizeof *releases; i++)
        assert_false(split_release(text_of(releases[i]), &pr, &revision, &certain));
}

static void test_a_version_that_may_hold_autoinc(void **state)
{
    static const char *const others[] = {"", "+", "1.0", "1.0+git", "1.0+git3", "1.0+git3+abc",
        "3+0123456789", "1.0+git03+0123456789", "1.0+git3+01 3456789", "1.0+3x+0123456789"};
    struct text before;
    struct text number;
    struct text source;

    (void)state;
    assert_true(
        split_autoinc(text_of("1.0+git13+0123abcdef_89abcdef01"), &before, &number, &source));
    assert_true(text_is(before, "1.0+git"));
    assert_true(text_is(number, "13"));
    assert_true(text_is(source, "0123abcdef_89abcdef01"));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(split_autoinc(text_of(others[i]), &before, &number, &source));
}

/* Appends a text and a blank. */
static void append(struct buffer *all, const struct buffer *text)
{
    buffer_append_text(all, buffer_text(text));
    buffer_append_string(all, " ");
}

/* Checks texts that were appended. */
static void assert_appended(struct buffer *all, const char *expected)
{
    const size_t length = all->length > 0 ? all->length - 1 : 0;

    buffer_append_string(all, "");
    assert_true(text_is((struct text){all->bytes ? all->bytes : "", length}, expected));
    buffer_free(all);
}

static void assert_versions(const struct mapping_keys *keys, const char *expected)
{
    struct buffer all = BUFFER_EMPTY;

    for (size_t i = 0; i < keys->n_versions; i++)
        append(&all, &keys->versions[i].text);
    assert_appended(&all, expected);
}

static void assert_pkgarchs(const struct mapping_keys *keys, const char *expected)
{
    struct buffer all = BUFFER_EMPTY;

    for (size_t i = 0; i < keys->n_pkgarchs; i++)
        append(&all, &keys->pkgarchs[i]);
    assert_appended(&all, expected);
}

static void assert_keys(
    struct feed_package package, const char *versions, const char *pkgarchs, const char *counters)
{
    struct mapping mapping = {.has_counter = false};

    if (!package.release.bytes)
        package.release = text_of("r1.7");
    assert_int_equal(mapping_find(&mapping, &package), MAPPING_DONE);
    assert_versions(&mapping.revision, versions);
    assert_pkgarchs(&mapping.revision, pkgarchs);
    assert_int_equal(mapping.has_counter, counters[0] != '\0');
    assert_versions(&mapping.counter, counters);
    mapping_free(&mapping);
}
static void test_a_package_of_opkg(void **state)
{
    (void)state;
    assert_keys((struct feed_package){.format = FEED_IPK,
                    .recipe = TEXT("m4"),
                    .epoch = TEXT("2"),
                    .version = TEXT("1.4"),
                    .arch = TEXT("core2-64")},
        "m4-2_1.4-r1", "core2-64", "");
    assert_keys((struct feed_package){.format = FEED_IPK,
                    .name = TEXT("m4-doc"),
                    .source = TEXT("m4.bb"),
                    .version = TEXT("1.4"),
                    .arch = TEXT("all")},
        "m4-1.4-r1", "all", "");
}

static void test_a_package_of_debian(void **state)
{
    (void)state;
    assert_keys((struct feed_package){.format = FEED_DEB,
                    .recipe = TEXT("m4"),
                    .version = TEXT("1.4"),
                    .arch = TEXT("amd64"),
                    .pkgarch = TEXT("core2-64")},
        "m4-1.4-r1", "core2-64", "");
    assert_keys((struct feed_package){.format = FEED_DEB,
                    .name = TEXT("m4"),
                    .source = TEXT("m4 (1.3)"),
                    .version = TEXT("1.4"),
                    .arch = TEXT("i386"),
                    .folder = TEXT("core2-32")},
        "m4-1.4-r1", "core2-32 i586 i686 i386", "");
}

static void test_a_package_of_rpm(void **state)
{
    (void)state;
    assert_keys((struct feed_package){.format = FEED_RPM,
                    .recipe = TEXT("m4"),
                    .version = TEXT("1+2"),
                    .arch = TEXT("x86_64_nativesdk")},
        "m4-1+2-r1 m4-1-2-r1",
        "x86-64-nativesdk x86_64-nativesdk x86-64_nativesdk x86_64_nativesdk", "");
    assert_keys((struct feed_package){.format = FEED_RPM,
                    .recipe = TEXT("m4"),
                    .version = TEXT("1"),
                    .arch = TEXT("a_b_c_d")},
        "m4-1-r1", "a-b-c-d a_b-c-d a-b_c-d a_b_c-d a-b-c_d a_b-c_d a-b_c_d a_b_c_d", "");
    assert_keys(
        (struct feed_package){
            .format = FEED_RPM, .recipe = TEXT("m4"), .version = TEXT("1"), .arch = TEXT("noarch")},
        "m4-1-r1", "all", "");
}

static void test_a_version_with_a_number_of_autoinc(void **state)
{
    (void)state;
    assert_keys((struct feed_package){.format = FEED_IPK,
                    .recipe = TEXT("x"),
                    .epoch = TEXT("1"),
                    .version = TEXT("1+git3+0123456789"),
                    .arch = TEXT("all")},
        "x-1_1+gitAUTOINC+0123456789-r1 x-1_1+git-r1 x-1_1+git3+0123456789-r1", "all",
        "AUTOINC-x-1_1+git AUTOINC-x-1_1+git- AUTOINC-x-1_1+git-r");
}

static void test_what_a_build_keeps(void **state)
{
    (void)state;
    assert_keys((struct feed_package){.format = FEED_PKGDATA,
                    .recipe = TEXT("x"),
                    .version = TEXT("1"),
                    .release = TEXT("r0.7"),
                    .pv = TEXT("1"),
                    .pr = TEXT("r0"),
                    .arch = TEXT("all,,core2-64,all,")},
        "x-1-r0", "all core2-64", "");
    assert_keys((struct feed_package){.format = FEED_PKGDATA,
                    .recipe = TEXT("x"),
                    .version = TEXT("1+git3+0123456789"),
                    .release = TEXT("r0.1.7+d"),
                    .pv = TEXT("1+git"),
                    .pr = TEXT("r0.1"),
                    .pkgarch = TEXT("all")},
        "x-1+git-r0.1", "all", "AUTOINC-x-1+git AUTOINC-x-1+git- AUTOINC-x-1+git-r0.");
    assert_keys((struct feed_package){.format = FEED_BUILDHISTORY,
                    .recipe = TEXT("x"),
                    .version = TEXT("2"),
                    .release = TEXT("r0.7"),
                    .pv = TEXT("1"),
                    .pr = TEXT("r0"),
                    .arch = TEXT("core2-64-poky-linux-gnueabi")},
        "x-1-r0", "core2-64 core2-64-poky", "");
}

static void test_pr_may_have_a_dot(void **state)
{
    (void)state;
    assert_keys((struct feed_package){.format = FEED_IPK,
                    .recipe = TEXT("x"),
                    .version = TEXT("1"),
                    .release = TEXT("r5.2.7"),
                    .arch = TEXT("all")},
        "x-1-r5 x-1-r5.2", "all", "");
}

static void test_numbers_that_are_no_revision(void **state)
{
    struct mapping mapping = {.has_counter = false};
    const struct feed_package package = {.format = FEED_IPK,
        .recipe = TEXT("x"),
        .version = TEXT("1"),
        .release = TEXT("r0.07"),
        .arch = TEXT("all")};

    (void)state;
    assert_int_equal(mapping_find(&mapping, &package), MAPPING_INVALID);
    mapping_free(&mapping);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pr_ends_before_the_last_dotted_numbers),
        cmocka_unit_test(test_a_release_without_a_revision),
        cmocka_unit_test(test_a_version_that_may_hold_autoinc),
        cmocka_unit_test(test_a_package_of_opkg),
        cmocka_unit_test(test_a_package_of_debian),
        cmocka_unit_test(test_a_package_of_rpm),
        cmocka_unit_test(test_a_version_with_a_number_of_autoinc),
        cmocka_unit_test(test_what_a_build_keeps),
        cmocka_unit_test(test_pr_may_have_a_dot),
        cmocka_unit_test(test_numbers_that_are_no_revision),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
