/* Lets one process see another wall clock: ahead by the seconds, a long, that stand in the file $WALL_CLOCK_AHEAD. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *ahead_s;

__attribute__((constructor)) static void find(void)
{
	const char *path = getenv("WALL_CLOCK_AHEAD");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *found = mmap(NULL, sizeof *ahead_s, PROT_READ, MAP_SHARED, file, 0);

	if (found != MAP_FAILED)
		ahead_s = found;
	if (file >= 0)
		close(file);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
	long failed = syscall(SYS_clock_gettime, clock, at);

	if (!failed && clock == CLOCK_REALTIME && ahead_s)
		at->tv_sec += *ahead_s;
	return (int)failed;
}
