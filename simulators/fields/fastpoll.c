/* Preloaded into a test's pcscd: its compiled-in 400 ms poll for cards becomes 20 ms.
 *
 * Only sleeps of exactly that length are touched. pcscd 1.9 calls nanosleep, 2.x may call usleep.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS 400000000L
#define FAST_NS 20000000L

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    static int (*real)(const struct timespec *, struct timespec *);
    const struct timespec fast = {0, FAST_NS};

    if (!real)
        real = (int (*)(const struct timespec *, struct timespec *))dlsym(RTLD_NEXT, "nanosleep");
    if (wanted && wanted->tv_sec == 0 && wanted->tv_nsec == POLL_NS)
        wanted = &fast;
    return real(wanted, left);
}

int usleep(useconds_t microseconds)
{
    const struct timespec wanted = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000L};

    return nanosleep(&wanted, NULL);
}
