/* SPDX-License-Identifier: MIT */
/* Preloaded into a client: the name "two.example" has the addresses 127.0.0.2 and
 * 127.0.0.1, in this order; look-ups of other names fail. */
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

int getaddrinfo(
    const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    int failure;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(name, "two.example") != 0)
        return EAI_NONAME;
    failure = real("127.0.0.2", service, hints, result);
    return failure != 0 ? failure : real("127.0.0.1", service, hints, &(*result)->ai_next);
}
