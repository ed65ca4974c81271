/* SPDX-License-Identifier: MIT */
#include "base/heap.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

void heap_release(struct heap *heap, uint64_t now_ms)
{
    if (now_ms < heap->looked_ms + HEAP_RELEASE_MS)
        return;
    heap->looked_ms = now_ms;
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33) /* the first with mallinfo2 */
    if (mallinfo2().fordblks > HEAP_UNUSED_BYTES)
        (void)malloc_trim(0);
#endif
}
