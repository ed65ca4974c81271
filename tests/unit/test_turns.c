/* Turns (src/server/turns.h): how many at once, and who comes next. */
#include "server/turns.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

/* Somebody with a letter, who writes it down when the turn comes. */
struct guest {
    struct turn turn;
    char letter;
    char *came; /* of all of them */
};

struct party {
    struct turns turns;
    struct guest guests[5];
    char came[16];
};

static void come(void *context)
{
    const struct guest *guest = context;
    size_t n = strlen(guest->came);

    guest->came[n] = guest->letter;
    guest->came[n + 1] = '\0';
}

static void invite(struct party *party, unsigned at_once)
{
    *party = (struct party){0};
    turns_init(&party->turns, at_once);
    for (size_t i = 0; i < COUNT(party->guests); i++) {
        struct guest *guest = &party->guests[i];

        *guest = (struct guest){.turn = {.come = come, .context = guest},
            .letter = (char)('a' + i),
            .came = party->came};
    }
}

static struct turn *turn_of(struct party *party, char letter)
{
    return &party->guests[letter - 'a'].turn;
}

static bool ask(struct party *party, char letter)
{
    return turns_ask(&party->turns, turn_of(party, letter));
}

static void end(struct party *party, char letter)
{
    turns_end(&party->turns, turn_of(party, letter));
}

static void so_many_have_their_turn_at_once(void **state)
{
    struct party party;

    (void)state;
    invite(&party, 2);
    assert_true(ask(&party, 'a'));
    assert_false(turns_are_waited_for(&party.turns));
    assert_true(ask(&party, 'b'));
    assert_false(ask(&party, 'c'));
    assert_true(turns_are_waited_for(&party.turns));
    assert_string_equal(party.came, ""); /* who gets it at once is not called */
}

static void the_others_come_in_the_order_in_which_they_asked(void **state)
{
    struct party party;

    (void)state;
    invite(&party, 1);
    assert_true(ask(&party, 'a'));
    assert_false(ask(&party, 'd'));
    assert_false(ask(&party, 'b'));
    assert_false(ask(&party, 'c'));
    end(&party, 'a');
    assert_string_equal(party.came, "d");
    assert_true(ask(&party, 'd')); /* it has it already */
    end(&party, 'd');
    assert_string_equal(party.came, "db");
    assert_false(ask(&party, 'a')); /* again: behind the others */
    end(&party, 'b');
    end(&party, 'c');
    assert_string_equal(party.came, "dbca");
}

static void who_has_a_turn_takes_no_second_one(void **state)
{
    struct party party;

    (void)state;
    invite(&party, 2);
    assert_true(ask(&party, 'a'));
    assert_true(ask(&party, 'a'));
    assert_true(ask(&party, 'b'));
    assert_false(ask(&party, 'c'));
}

static void asking_twice_gives_no_second_place(void **state)
{
    struct party party;

    (void)state;
    invite(&party, 1);
    assert_true(ask(&party, 'a'));
    assert_true(ask(&party, 'a'));
    assert_false(ask(&party, 'b'));
    assert_false(ask(&party, 'c'));
    assert_false(ask(&party, 'b'));
    end(&party, 'a');
    end(&party, 'b');
    end(&party, 'c');
    assert_string_equal(party.came, "bc");
    assert_false(turns_are_waited_for(&party.turns));
}

static void who_leaves_the_queue_is_passed_over(void **state)
{
    struct party party;

    (void)state;
    invite(&party, 1);
    assert_true(ask(&party, 'a'));
    assert_false(ask(&party, 'b'));
    assert_false(ask(&party, 'c'));
    end(&party, 'b');
    assert_string_equal(party.came, ""); /* its leaving gives nobody a turn */
    end(&party, 'a');
    assert_string_equal(party.came, "c");
}

static void who_did_not_ask_ends_nothing(void **state)
{
    struct party party;

    (void)state;
    invite(&party, 1);
    end(&party, 'a');
    assert_true(ask(&party, 'b'));
    end(&party, 'a');
    assert_false(ask(&party, 'c')); /* there is no second one at once */
    end(&party, 'b');
    end(&party, 'b');
    assert_string_equal(party.came, "c");
    assert_false(ask(&party, 'd'));
}

static void a_turn_that_nobody_waits_for_is_kept_for_the_next(void **state)
{
    struct party party;

    (void)state;
    invite(&party, 2);
    assert_true(ask(&party, 'a'));
    assert_true(ask(&party, 'b'));
    end(&party, 'a');
    end(&party, 'b');
    assert_true(ask(&party, 'c'));
    assert_true(ask(&party, 'd'));
    assert_false(ask(&party, 'e'));
    assert_string_equal(party.came, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_have_their_turn_at_once),
        cmocka_unit_test(the_others_come_in_the_order_in_which_they_asked),
        cmocka_unit_test(who_has_a_turn_takes_no_second_one),
        cmocka_unit_test(asking_twice_gives_no_second_place),
        cmocka_unit_test(who_leaves_the_queue_is_passed_over),
        cmocka_unit_test(who_did_not_ask_ends_nothing),
        cmocka_unit_test(a_turn_that_nobody_waits_for_is_kept_for_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
