/* SPDX-License-Identifier: MIT */
/* What a process can't do any more, and what it still can: daemon/confine.h. There is no way back,
 * so each check is a process of its own. Its exit status is 0, or says which step failed. */
#include "daemon/sandbox.h"
#include "unit.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_CONFINED 100

struct call {
    long number;
    const char *name;
};

#define CALL(name)        \
    {                     \
        SYS_##name, #name \
    }

/* All of these fail with -1 for each argument, whoever asks. fork, vfork and vhangup, which would
 * not, are not here. */
static const struct call refused[] = {
    CALL(execve), CALL(execveat), CALL(kcmp), CALL(pidfd_getfd), CALL(process_vm_readv),
    CALL(process_vm_writev), CALL(ptrace), CALL(chroot), CALL(fsconfig), CALL(fsmount),
    CALL(fsopen), CALL(fspick), CALL(mount), CALL(mount_setattr), CALL(move_mount), CALL(open_tree),
    CALL(pivot_root), CALL(setns), CALL(umount2), CALL(unshare), CALL(fanotify_init), CALL(mknodat),
    CALL(open_by_handle_at), CALL(capset), CALL(setfsgid), CALL(setfsuid), CALL(setgid),
    CALL(setgroups), CALL(setregid), CALL(setresgid), CALL(setresuid), CALL(setreuid), CALL(setuid),
    CALL(bpf), CALL(io_uring_setup), CALL(perf_event_open), CALL(personality), CALL(userfaultfd),
    CALL(acct), CALL(adjtimex), CALL(clock_adjtime), CALL(clock_settime), CALL(delete_module),
    CALL(finit_module), CALL(init_module), CALL(kexec_load), CALL(lookup_dcookie), CALL(nfsservctl),
    CALL(quotactl), CALL(reboot), CALL(setdomainname), CALL(sethostname), CALL(settimeofday),
    CALL(swapoff), CALL(swapon), CALL(syslog),
#ifdef SYS_quotactl_fd
    CALL(quotactl_fd),
#endif
#ifdef __x86_64__
    CALL(create_module), CALL(ioperm), CALL(iopl), CALL(kexec_file_load), CALL(mknod),
    CALL(modify_ldt)
#endif
};

static void be_confined(void)
{
    struct error error;

    if (sandbox_enter(&error) == 0)
        return;
    (void)fprintf(stderr, "%s\n", error.text);
    exit(NOT_CONFINED);
}

/* The exit status of a process that does this; -1 if a signal ended it. */
static int status_of(int (*check)(void))
{
    int status;
    pid_t child;

    (void)fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        exit(check());
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int call_refused(void)
{
    int wrong = 0;

    be_confined();
    for (size_t i = 0; i < COUNT(refused); i++) {
        errno = 0;
        if (syscall(refused[i].number, -1L, -1L, -1L, -1L, -1L, -1L) == -1 && errno == EPERM)
            continue;
        (void)fprintf(stderr, "%s is not refused: %s\n", refused[i].name, strerror(errno));
        wrong++;
    }
    return wrong;
}

static void what_a_server_never_needs_is_refused(void **state)
{
    (void)state;
    assert_int_equal(status_of(call_refused), 0);
}

static int start_processes(void)
{
    char *const arguments[] = {"true", NULL};
    pid_t child;

    be_confined();
    child = fork();
    if (child == 0)
        _exit(0);
    if (child > 0 || errno != EPERM)
        return 1;
    if (syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL) != -1 ||
        errno != EPERM)
        return 2;
    if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
        return 3;
    if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, NULL) != EPERM)
        return 4;
    if (system("true") == 0)
        return 5;
#ifdef SYS_fork
    child = (pid_t)syscall(SYS_fork);
    if (child == 0)
        _exit(0);
    if (child > 0 || errno != EPERM)
        return 6;
#endif
    return 0;
}

static void no_process_is_started(void **state)
{
    (void)state;
    assert_int_equal(status_of(start_processes), 0);
}

/* The kernel itself finds a thread without memory of its process' invalid, before all else. */
static int unshare_in_thread(void)
{
    const unsigned long flags[] = {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
        CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};
    char stack[4096] __attribute__((aligned(16)));

    be_confined();
    for (size_t i = 0; i < COUNT(flags); i++) {
        if (syscall(SYS_clone, CLONE_THREAD | flags[i], stack + sizeof stack, NULL, NULL, NULL) !=
                -1 ||
            errno != EPERM)
            return (int)i + 1;
    }
    return 0;
}

static void no_thread_gets_a_namespace(void **state)
{
    (void)state;
    assert_int_equal(status_of(unshare_in_thread), 0);
}

static int open_sockets(void)
{
    static const int needed[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

    be_confined();
    for (int family = 1; family < 64; family++) {
        bool is_needed = false;
        int descriptor = socket(family, family == AF_NETLINK ? SOCK_RAW : SOCK_STREAM, 0);

        for (size_t i = 0; i < COUNT(needed); i++)
            is_needed = is_needed || family == needed[i];
        /* A machine may be without one of them, IPv6 mostly. */
        if (is_needed ? descriptor < 0 && errno != EAFNOSUPPORT : descriptor >= 0 || errno != EPERM)
            return family;
        if (descriptor >= 0)
            (void)close(descriptor);
    }
    return 0;
}

static void sockets_are_of_few_families(void **state)
{
    (void)state;
    assert_int_equal(status_of(open_sockets), 0);
}

/* Everybody may ask for it: what is refused is refused by the filter. */
static int ask_personality(void)
{
    return personality(0xffffffff);
}

static void *ask_in_thread(void *refused_here)
{
    *(bool *)refused_here =
        ask_personality() == -1 && errno == EPERM && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    return NULL;
}

struct early {
    int confined; /* an eventfd */
    bool refused;
};

static void *wait_and_ask(void *context)
{
    struct early *early = context;
    eventfd_t value;

    if (eventfd_read(early->confined, &value) == 0)
        (void)ask_in_thread(&early->refused);
    return NULL;
}

static int use_threads(void)
{
    struct early early = {.confined = eventfd(0, EFD_CLOEXEC)};
    bool late_refused = false;
    pthread_t thread;
    pthread_t late;

    if (pthread_create(&thread, NULL, wait_and_ask, &early) != 0)
        return 1;
    be_confined();
    if (eventfd_write(early.confined, 1) != 0 || pthread_join(thread, NULL) != 0)
        return 2;
    if (pthread_create(&late, NULL, ask_in_thread, &late_refused) != 0)
        return 3;
    if (pthread_join(late, NULL) != 0)
        return 4;
    return early.refused ? (late_refused ? 0 : 5) : 6;
}

static void it_holds_for_threads_that_run_and_for_new_ones(void **state)
{
    (void)state;
    assert_int_equal(status_of(use_threads), 0);
}

static int look_up(void)
{
    const struct addrinfo hints = {.ai_flags = AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    be_confined();
    if (getaddrinfo("localhost", "8585", &hints, &found) != 0)
        return 1;
    freeaddrinfo(found);
    return 0;
}

static void names_are_found(void **state)
{
    (void)state;
    assert_int_equal(status_of(look_up), 0);
}

#ifdef __x86_64__
static void end_well(int number)
{
    (void)number;
    _exit(0);
}

/* getpid as a program of 32 bits would call it, whose numbers are others. A kernel without such
 * calls sends a signal. */
static int call_as_32_bits(void)
{
    const unsigned getpid_32 = 20;
    int result;

    (void)signal(SIGSEGV, end_well);
    be_confined();
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(getpid_32) : "memory");
    return result == -EPERM || result == -ENOSYS ? 0 : 1;
}

static void there_is_no_other_door(void **state)
{
    (void)state;
    assert_int_equal(status_of(call_as_32_bits), 0);
}
#endif

/* A container whose own filter knows no seccomp(2). */
static int be_refused(void)
{
    scmp_filter_ctx around = seccomp_init(SCMP_ACT_ALLOW);
    struct error error = {.text = ""};

    if (seccomp_rule_add(around, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0) != 0 ||
        seccomp_load(around) != 0)
        return 1;
    seccomp_release(around);
    if (sandbox_enter(&error) != ERROR_SYSTEM)
        return 2;
    if (!strstr(error.text, "Function not implemented"))
        return 3;
    return ask_personality() == -1 ? 4 : 0;
}

static void a_system_that_refuses_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(status_of(be_refused), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_server_never_needs_is_refused),
        cmocka_unit_test(no_process_is_started),
        cmocka_unit_test(no_thread_gets_a_namespace),
        cmocka_unit_test(sockets_are_of_few_families),
        cmocka_unit_test(it_holds_for_threads_that_run_and_for_new_ones),
        cmocka_unit_test(names_are_found),
#ifdef __x86_64__
        cmocka_unit_test(there_is_no_other_door),
#endif
        cmocka_unit_test(a_system_that_refuses_is_an_error),
    };

    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) {
        (void)fprintf(stderr, "the kernel has no filters: nothing to test\n");
        return 0;
    }
    return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}
