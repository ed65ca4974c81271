/* SPDX-License-Identifier: MIT */
/* What clients can cause at will doesn't fill the log: base/log.h. */
#include "base/log.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The clock of this program goes when a test wants it to. */
static time_t now_s = 1000;

int clock_gettime(clockid_t clock, struct timespec *time)
{
    (void)clock;
    *time = (struct timespec){.tv_sec = now_s};
    return 0;
}

struct file {
    char name[32];
    struct log *log;
    char text[100000];
};

static void open_log(struct file *file, enum log_level level)
{
    struct error error;

    strcpy(file->name, "/tmp/unit-log-XXXXXX");
    assert_int_equal(close(mkstemp(file->name)), 0);
    assert_int_equal(log_open(&file->log, file->name, level, &error), 0);
}

static void read_log(struct file *file)
{
    FILE *stream = fopen(file->name, "r");

    assert_non_null(stream);
    file->text[fread(file->text, 1, sizeof file->text - 1, stream)] = '\0';
    assert_int_equal(fclose(stream), 0);
}

static void close_log(struct file *file)
{
    log_close(file->log);
    read_log(file);
    assert_int_equal(unlink(file->name), 0);
}

static unsigned count(const struct file *file, const char *part)
{
    unsigned found = 0;

    for (const char *at = file->text; (at = strstr(at, part)); at += strlen(part))
        found++;
    return found;
}

static void complain(struct file *file, int from, int to)
{
    for (int i = from; i < to; i++)
        log_often(file->log, LOG_WARNING, "complaint %d.", i);
}

static void so_many_of_a_kind_are_written_and_the_rest_is_counted(void **state)
{
    static struct file file;

    (void)state;
    open_log(&file, LOG_INFO);
    complain(&file, 0, 120);
    log_often(file.log, LOG_ERROR, "of another kind");
    read_log(&file);
    assert_int_equal(count(&file, "complaint"), LOG_OFTEN_LINES);
    assert_int_equal(count(&file, "another kind"), 1);
    assert_int_equal(count(&file, "more like it"), 0);
    now_s += LOG_OFTEN_MS / 1000 - 1;
    log_catch_up(file.log);
    read_log(&file);
    assert_int_equal(count(&file, "more like it"), 0);
    now_s += 1;
    log_catch_up(file.log);
    log_catch_up(file.log);
    read_log(&file);
    assert_int_equal(count(&file, "more like it"), 1);
    assert_int_equal(count(&file, "]: ... and 100 more like it, the last: complaint 119.\n"), 1);
    close_log(&file);
}

static void after_its_time_a_kind_is_written_again(void **state)
{
    static struct file file;

    (void)state;
    open_log(&file, LOG_INFO);
    complain(&file, 0, LOG_OFTEN_LINES + 3);
    now_s += LOG_OFTEN_MS / 1000;
    complain(&file, 500, 501);
    read_log(&file);
    assert_non_null(strstr(file.text, "... and 3 more like it"));
    assert_true(strstr(file.text, "complaint 500.") > strstr(file.text, "3 more like it"));
    close_log(&file);
    assert_int_equal(count(&file, "more like it"), 1);
}

static void what_was_left_out_is_said_at_the_end(void **state)
{
    static struct file file;

    (void)state;
    open_log(&file, LOG_INFO);
    complain(&file, 0, LOG_OFTEN_LINES + 1);
    close_log(&file);
    assert_int_equal(count(&file, "... and 1 more like it"), 1);
}

static void who_wants_every_detail_gets_it(void **state)
{
    static struct file file;

    (void)state;
    open_log(&file, LOG_DEBUG);
    for (int i = 0; i < 100; i++)
        log_often(file.log, LOG_DEBUG, "detail");
    close_log(&file);
    assert_int_equal(count(&file, "detail"), 100);
}

static void what_is_no_printable_ascii_is_escaped(void **state)
{
    static struct file file;
    char all[256];

    (void)state;
    for (int i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = '\0';
    open_log(&file, LOG_INFO);
    log_write(file.log, LOG_INFO, "%s", all);
    close_log(&file);
    assert_int_equal(count(&file, "\n"), 1);
    assert_int_equal(count(&file, "\\x"), 0x1f + 0x81);
    for (const char *at = file.text; at[0] != '\n'; at++)
        assert_in_range(*at, 0x20, 0x7e);
}

static void write_field(struct file *file, struct text text)
{
    const struct log_field fields[] = {
        {.name = "text", .text = text}, {.name = "number", .is_number = true, .number = 7}};

    log_write_fields(file->log, LOG_ERROR, "it \"failed\"", fields, 2);
}

static void fields_follow_the_message(void **state)
{
    static struct file file;

    (void)state;
    open_log(&file, LOG_INFO);
    write_field(&file, text_of("plain"));
    write_field(&file, text_of("a \"b\"\n\xff"));
    write_field(&file, text_of(""));
    close_log(&file);
    assert_int_equal(count(&file, "]: it \"failed\" text=plain number=7\n"), 1);
    assert_int_equal(count(&file, "text=\"a \\\"b\\\"\\x0a\\xff\" number=7\n"), 1);
    assert_int_equal(count(&file, "text=\"\" number=7\n"), 1);
}

static void json_is_ascii_and_has_fields_as_members(void **state)
{
    static struct file file;

    (void)state;
    open_log(&file, LOG_INFO);
    log_set_format(file.log, LOG_JSON);
    write_field(&file, text_of("a \"b\"\n\xff \xc3\xa9 \xf0\x9f\x98\x80"));
    close_log(&file);
    assert_int_equal(count(&file, "\"level\": \"ERROR\", \"pid\": "), 1);
    assert_int_equal(count(&file, "\"message\": \"it \\\"failed\\\"\", \"text\": "), 1);
    assert_int_equal(count(&file, "\"a \\\"b\\\"\\u000a\\ufffd \\u00e9 \\ud83d\\ude00\""), 1);
    assert_int_equal(count(&file, ", \"number\": 7}\n"), 1);
}

static void a_long_field_is_cut_and_its_line_is_whole(void **state)
{
    static struct file file;
    static char text[20000];

    (void)state;
    memset(text, '"', sizeof text - 1);
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        open_log(&file, LOG_INFO);
        log_set_format(file.log, (enum log_format)format);
        write_field(&file, text_of(text));
        close_log(&file);
        assert_true(strlen(file.text) < 4000);
        assert_int_equal(count(&file, "\n"), 1);
        assert_int_equal(count(&file, "number"), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_of_a_kind_are_written_and_the_rest_is_counted),
        cmocka_unit_test(after_its_time_a_kind_is_written_again),
        cmocka_unit_test(what_was_left_out_is_said_at_the_end),
        cmocka_unit_test(who_wants_every_detail_gets_it),
        cmocka_unit_test(what_is_no_printable_ascii_is_escaped),
        cmocka_unit_test(fields_follow_the_message),
        cmocka_unit_test(json_is_ascii_and_has_fields_as_members),
        cmocka_unit_test(a_long_field_is_cut_and_its_line_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
