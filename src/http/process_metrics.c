/* SPDX-License-Identifier: MIT */
#include "http/http.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t process_metrics_resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    char line[128];
    const char *resident = NULL;

    if (!file)
        return 0;
    if (fgets(line, sizeof line, file))
        resident = strchr(line, ' '); /* the second number, in pages */
    (void)fclose(file);
    return resident ? strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* Newer kernels tell the number as the size of the folder. */
static uint64_t process_metrics_n_files(void)
{
    struct stat status;
    uint64_t count = 0;
    DIR *folder;

    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return (uint64_t)status.st_size;
    folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    if (folder)
        (void)closedir(folder);
    return count > 3 ? count - 3 : 0; /* the folder itself, "." and ".." */
}

void process_metrics_read(struct process_figures *figures)
{
    struct rusage usage = {.ru_maxrss = 0};
    struct rlimit limit = {.rlim_cur = 0};

    (void)getrusage(RUSAGE_SELF, &usage);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    *figures = (struct process_figures){
        .cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
        .resident_bytes = process_metrics_resident_bytes(),
        .n_files = process_metrics_n_files(),
        .most_files = (uint64_t)limit.rlim_cur,
    };
}
