/* Makes every sync of a process take a given time, and counts what the process writes to files.
 *
 * It is loaded with LD_PRELOAD. The syncs themselves are left out: the file lies in memory, where they
 * do nothing. SLOWSYNC_US is the time of a sync in microseconds; SLOWSYNC_FILE gets four numbers of
 * eight bytes: the syncs, the bytes and the calls of writes, and the longest sync in nanoseconds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct counts {
    uint64_t syncs, bytes, writes, longest;
};

static struct counts none;
static struct counts *counts = &none;
static long micros = 1000;
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);

__attribute__((constructor)) static void begin(void)
{
    const char *time = getenv("SLOWSYNC_US"), *file = getenv("SLOWSYNC_FILE");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
    if (time)
        micros = atol(time);
    int fd = file ? open(file, O_RDWR | O_CREAT, 0600) : -1;
    if (fd >= 0 && ftruncate(fd, sizeof(struct counts)) == 0) {
        void *shared = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (shared != MAP_FAILED)
            counts = shared;
    }
    if (fd >= 0)
        close(fd);
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int slow(void)
{
    struct timespec left = {micros / 1000000, micros % 1000000 * 1000};
    uint64_t begun = now();
    while (nanosleep(&left, &left) != 0)
        ;
    uint64_t took = now() - begun;
    __atomic_fetch_add(&counts->syncs, 1, __ATOMIC_RELAXED);
    if (took > counts->longest)
        counts->longest = took;
    return 0;
}

int fsync(int fd)
{
    (void)fd;
    return slow();
}

int fdatasync(int fd)
{
    (void)fd;
    return slow();
}

static ssize_t written(ssize_t bytes)
{
    if (bytes > 0)
        __atomic_fetch_add(&counts->bytes, (uint64_t)bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counts->writes, 1, __ATOMIC_RELAXED);
    return bytes;
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t at)
{
    return written(real_pwrite(fd, from, bytes, at));
}

ssize_t pwrite64(int fd, const void *from, size_t bytes, off64_t at)
{
    return written(real_pwrite64(fd, from, bytes, at));
}
