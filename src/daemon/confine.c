/* A list of what is refused, not of what is allowed: the C library, the resolver's modules, libpq,
 * TLS and Kerberos run in this process, and a next version of any of them may need a call that
 * no list of ours knows. What is here gives somebody who has taken over the process a next step,
 * and none of them needs it.
 *
 * Not refused, though it looks like it:
 * - keyctl, add_key, request_key: Kerberos may keep its tickets in the kernel's keyrings.
 * - io_uring_enter: if libuv made a ring at the start, it ends the process when this fails; without
 *   io_uring_setup no other ring can be made.
 * - memfd_create: without execveat it is memory like any other.
 *
 * Calls are named by strings, so that it builds with a libseccomp that has not heard of
 * the newest: those can't be refused then. A call that the machine lacks is passed over. */
#include "daemon/confine.h"

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

static const char *const refused[] = {
    /* programs and processes; clone is below */
    "execve", "execveat", "fork", "vfork",
    /* other processes' memory and files */
    "kcmp", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace",
    /* what the process sees of the system */
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
    "open_tree", "open_tree_attr", "pivot_root", "setns", "umount", "umount2", "unshare",
    /* files that go around the permissions of folders, and devices */
    "fanotify_init", "mknod", "mknodat", "open_by_handle_at",
    /* other users' rights */
    "capset", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups",
    "setgroups32", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32",
    "setreuid", "setreuid32", "setuid", "setuid32",
    /* corners of the kernel where faults are found again and again */
    "bpf", "io_uring_setup", "modify_ldt", "perf_event_open", "personality", "userfaultfd", "vm86",
    "vm86old",
    /* the machine itself */
    "acct", "adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64",
    "create_module", "delete_module", "finit_module", "init_module", "ioperm", "iopl",
    "kexec_file_load", "kexec_load", "lookup_dcookie", "nfsservctl", "quotactl", "quotactl_fd",
    "reboot", "setdomainname", "sethostname", "settimeofday", "stime", "swapoff", "swapon",
    "syslog", "vhangup"};

/* What else clone(2) can give a thread than being one. */
static const unsigned long namespaces[] = {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
    CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};

/* The rule holds for all calls of that name, or for those that the comparison is true for. */
static int refuse(
    scmp_filter_ctx filter, const char *name, int with, const struct scmp_arg_cmp *comparison)
{
    const int number = seccomp_syscall_resolve_name(name);

    if (number == __NR_SCMP_ERROR)
        return 0;
    return seccomp_rule_add_array(
        filter, SCMP_ACT_ERRNO((unsigned)with), number, comparison ? 1 : 0, comparison);
}

static int refuse_named(scmp_filter_ctx filter)
{
    int result = 0;

    for (size_t i = 0; i < sizeof refused / sizeof *refused && result == 0; i++)
        result = refuse(filter, refused[i], EPERM, NULL);
    return result;
}

/* A filter can't see the flags of clone3. The C library, told that there is no such call, takes
 * clone, for threads as well. */
static int refuse_processes(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp no_thread = {
        .arg = CLONE_FLAGS, .op = SCMP_CMP_MASKED_EQ, .datum_a = CLONE_THREAD, .datum_b = 0};
    int result = refuse(filter, "clone3", ENOSYS, NULL);

    if (result == 0)
        result = refuse(filter, "clone", EPERM, &no_thread);
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces && result == 0; i++) {
        const unsigned long flag = namespaces[i];
        const struct scmp_arg_cmp with_flag = {
            .arg = CLONE_FLAGS, .op = SCMP_CMP_MASKED_EQ, .datum_a = flag, .datum_b = flag};

        result = refuse(filter, "clone", EPERM, &with_flag);
    }
    return result;
}

/* Netlink: the resolver asks which addresses the machine has. */
static bool is_needed(unsigned family)
{
    return family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
}

/* One comparison of an argument in a rule is all that libseccomp can do. */
static int refuse_families(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp above = {.arg = 0, .op = SCMP_CMP_GT, .datum_a = AF_NETLINK};
    int result = refuse(filter, "socket", EPERM, &above);

    for (unsigned family = 0; family < AF_NETLINK && result == 0; family++) {
        const struct scmp_arg_cmp equal = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = family};

        if (!is_needed(family))
            result = refuse(filter, "socket", EPERM, &equal);
    }
    return result;
}

/* - Calls of another architecture than the program's (32 bits) are refused, not deadly.
 * - All threads get the filter, not just this one.
 * - Older kernels would slow down a process with a filter, against others' side channels
 *   (speculative store bypass); there are no others in this one.
 * - A tree instead of a row of comparisons. */
static int set_attributes(scmp_filter_ctx filter)
{
    int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));

    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE);
    return result;
}

/* ECANCELED is all that libseccomp says when the system refused; errno says why. */
static int load(scmp_filter_ctx filter)
{
    const int result = seccomp_load(filter);

    return result == -ECANCELED ? -errno : result;
}

int confine(struct error *error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int result;

    if (!filter)
        return error_set_memory(error);
    result = set_attributes(filter);
    if (result == 0)
        result = refuse_named(filter);
    if (result == 0)
        result = refuse_processes(filter);
    if (result == 0)
        result = refuse_families(filter);
    if (result == 0)
        result = load(filter);
    seccomp_release(filter);
    if (result == 0)
        return 0;
    return error_set(
        error, ERROR_SYSTEM, "the system allows no filter for system calls: %s", strerror(-result));
}

#else

int confine(struct error *error)
{
    (void)error;
    return 0;
}

#endif
