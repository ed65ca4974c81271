/* SPDX-License-Identifier: MIT */
/* Figures for other threads (src/base/metric.h). */
#include "base/metric.h"

#include "unit.h"

static void a_value_counts_in_the_bucket_whose_end_it_does_not_exceed(void **state)
{
    struct metric_histogram histogram = {.sum = {0}};

    (void)state;
    metric_histogram_add(&histogram, METRIC_DURATION, 0);
    metric_histogram_add(&histogram, METRIC_DURATION, 50);
    metric_histogram_add(&histogram, METRIC_DURATION, 51);
    metric_histogram_add(&histogram, METRIC_DURATION, 30000000);
    metric_histogram_add(&histogram, METRIC_DURATION, 30000001);
    assert_int_equal(metric_get(&histogram.buckets[0]), 2);
    assert_int_equal(metric_get(&histogram.buckets[1]), 1);
    assert_int_equal(metric_get(&histogram.buckets[METRIC_BOUNDS - 1]), 1);
    assert_int_equal(metric_get(&histogram.buckets[METRIC_BOUNDS]), 1);
    assert_int_equal(metric_get(&histogram.sum), 60000102);
}

static void the_ends_of_the_buckets_grow(void **state)
{
    (void)state;
    for (int scale = METRIC_DURATION; scale <= METRIC_NUMBER; scale++) {
        for (int i = 1; i < METRIC_BOUNDS; i++)
            assert_true(metric_bounds[scale][i] > metric_bounds[scale][i - 1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_counts_in_the_bucket_whose_end_it_does_not_exceed),
        cmocka_unit_test(the_ends_of_the_buckets_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
