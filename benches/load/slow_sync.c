/* Loaded before a RabbitMQ node (LD_PRELOAD), it makes each sync of a file take SLOW_SYNC_US longer, as on a slow disk.
   The kernel offers that for whole block devices alone, and only to root. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int later(const char *name, int file) {
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *slow = getenv("SLOW_SYNC_US");
    if (slow) usleep((useconds_t)atol(slow));
    return sync(file);
}

int fsync(int file) { return later("fsync", file); }
int fdatasync(int file) { return later("fdatasync", file); }
