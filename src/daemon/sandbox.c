/* SPDX-License-Identifier: MIT */
/* The filter lists the system calls that are denied, not those that are allowed: the C library, the
 * resolver's modules, libpq, TLS and Kerberos run in this process, and a future version of any of
 * them may need a call that a list of allowed calls does not have. The denied calls are the next
 * steps of an attacker who has taken over the process; none of these libraries needs them.
 *
 * Some calls are allowed although they may look dangerous:
 * - keyctl, add_key, request_key: Kerberos may keep its tickets in the kernel's keyrings.
 * - io_uring_enter: if libuv has set up a ring at its start, it aborts when this call fails;
 *   without io_uring_setup, no other ring can be created.
 * - memfd_create: without execveat, its result is ordinary memory.
 *
 * Calls are named by strings, so that this file compiles with a libseccomp that does not know the
 * newest ones, which are then allowed. Calls that the machine does not have are skipped. */
#include "daemon/sandbox.h"

#ifdef PRSERVD_SECCOMP

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define BINARY_TREE 2

/* s390 has the stack first (clone(2)). */
#ifdef __s390__
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif

static const char *const denied[] = {
    /* programs and processes; clone is below */
    "execve", "execveat", "fork", "vfork",
    /* other processes' memory and files */
    "kcmp", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace",
    /* the process' view of the file systems */
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
    "open_tree", "open_tree_attr", "pivot_root", "setns", "umount", "umount2", "unshare",
    /* files that bypass the permissions of folders, and devices */
    "fanotify_init", "mknod", "mknodat", "open_by_handle_at",
    /* other users' rights */
    "capset", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups",
    "setgroups32", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32",
    "setreuid", "setreuid32", "setuid", "setuid32",
    /* parts of the kernel with a history of vulnerabilities */
    "bpf", "io_uring_setup", "modify_ldt", "perf_event_open", "personality", "userfaultfd", "vm86",
    "vm86old",
    /* the machine itself */
    "acct", "adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64",
    "create_module", "delete_module", "finit_module", "init_module", "ioperm", "iopl",
    "kexec_file_load", "kexec_load", "lookup_dcookie", "nfsservctl", "quotactl", "quotactl_fd",
    "reboot", "setdomainname", "sethostname", "settimeofday", "stime", "swapoff", "swapon",
    "syslog", "vhangup"};

/* The namespaces that clone(2) could create for a thread. */
static const unsigned long namespaces[] = {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
    CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};

/* Denies all calls of that name, or those that match the comparison, with the errno code. */
static int sandbox_deny(
    scmp_filter_ctx filter, const char *name, int code, const struct scmp_arg_cmp *comparison)
{
    const int number = seccomp_syscall_resolve_name(name);

    if (number == __NR_SCMP_ERROR)
        return 0;
    return seccomp_rule_add_array(
        filter, SCMP_ACT_ERRNO((unsigned)code), number, comparison ? 1 : 0, comparison);
}

static int sandbox_deny_named(scmp_filter_ctx filter)
{
    int result = 0;

    for (size_t i = 0; i < sizeof denied / sizeof *denied && result == 0; i++)
        result = sandbox_deny(filter, denied[i], EPERM, NULL);
    return result;
}

/* Denies new processes, but not new threads. A filter can't see the flags of clone3, so that fails
 * with ENOSYS, and the C library uses clone instead, for threads as well. */
static int sandbox_deny_processes(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp is_process = {
        .arg = CLONE_FLAGS, .op = SCMP_CMP_MASKED_EQ, .datum_a = CLONE_THREAD, .datum_b = 0};
    int result = sandbox_deny(filter, "clone3", ENOSYS, NULL);

    if (result == 0)
        result = sandbox_deny(filter, "clone", EPERM, &is_process);
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces && result == 0; i++) {
        const unsigned long flag = namespaces[i];
        const struct scmp_arg_cmp with_flag = {
            .arg = CLONE_FLAGS, .op = SCMP_CMP_MASKED_EQ, .datum_a = flag, .datum_b = flag};

        result = sandbox_deny(filter, "clone", EPERM, &with_flag);
    }
    return result;
}

/* Netlink is needed because the resolver asks for the machine's addresses. */
static bool sandbox_allows_family(unsigned family)
{
    return family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
}

/* Denies sockets of other families. A rule of libseccomp can compare an argument only once. */
static int sandbox_deny_families(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp above = {.arg = 0, .op = SCMP_CMP_GT, .datum_a = AF_NETLINK};
    int result = sandbox_deny(filter, "socket", EPERM, &above);

    for (unsigned family = 0; family < AF_NETLINK && result == 0; family++) {
        const struct scmp_arg_cmp equal = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = family};

        if (!sandbox_allows_family(family))
            result = sandbox_deny(filter, "socket", EPERM, &equal);
    }
    return result;
}

/* Sets the filter's attributes:
 * - Calls of another architecture than the program's (32 bits) fail instead of killing it.
 * - All threads get the filter, not only this one.
 * - No mitigation of speculative store bypass, which would slow down the process on older kernels:
 *   it protects programs from code that they run for others, and there is none here.
 * - A binary tree instead of a sequence of comparisons. */
static int sandbox_set_attributes(scmp_filter_ctx filter)
{
    int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));

    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE);
    return result;
}

int sandbox_enter(struct error *error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int result;

    if (!filter)
        return error_set_memory(error);
    result = sandbox_set_attributes(filter);
    if (result == 0)
        result = sandbox_deny_named(filter);
    if (result == 0)
        result = sandbox_deny_processes(filter);
    if (result == 0)
        result = sandbox_deny_families(filter);
    if (result == 0)
        result = seccomp_load(filter);
    if (result == -ECANCELED)
        result = -errno; /* the system's reason */
    seccomp_release(filter);
    if (result == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM, "the system does not allow a filter for system calls: %s",
        strerror(-result));
}

#else

int sandbox_enter(struct error *error)
{
    (void)error;
    return 0;
}

#endif
