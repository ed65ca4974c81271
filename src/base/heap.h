/* SPDX-License-Identifier: MIT */
/* Gives memory that the heap does not use back to the system. The C library keeps what lies between
 * blocks that are in use, and after many clients with large requests that can be hundreds of MiB.
 */
#ifndef PRSERVD_HEAP_H
#define PRSERVD_HEAP_H

#include <stdint.h>

#define HEAP_RELEASE_MS 10000                          /* between two looks at the heap */
#define HEAP_UNUSED_BYTES ((uint64_t)32 * 1024 * 1024) /* more than this is given back */

struct heap {
    uint64_t looked_ms;
};

/* Looks at the heap, if HEAP_RELEASE_MS have passed, and gives unused memory back if there is more
 * than HEAP_UNUSED_BYTES. Takes 25 ms for 200 MiB, while no thread can allocate. Does nothing with
 * a C library other than glibc. now_ms: clock_ms. On one thread. */
void heap_release(struct heap *heap, uint64_t now_ms);

#endif
