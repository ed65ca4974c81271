/* SPDX-License-Identifier: MIT */
#include "base/heap.h"

/* Other C libraries give memory back by themselves, and lack __GLIBC_PREREQ. mallinfo2 is new
 * in 2.33. */
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 33)
#include <malloc.h>
#define HEAP_HAS_MALLINFO2
#endif
#endif

void heap_release(struct heap *heap, uint64_t now_ms)
{
    if (now_ms < heap->looked_ms + HEAP_RELEASE_MS)
        return;
    heap->looked_ms = now_ms;
#ifdef HEAP_HAS_MALLINFO2
    if (mallinfo2().fordblks > HEAP_UNUSED_BYTES)
        (void)malloc_trim(0);
#endif
}
