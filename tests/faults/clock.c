// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into the processes of a run: CLOCK_REALTIME is off by as many nanoseconds as the file
 * FAULTS_CLOCK holds, a signed number of 64 bits that may change at any moment.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const volatile int64_t *offset;

__attribute__((constructor)) static void start(void)
{
	const char *file = getenv("FAULTS_CLOCK");
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	void *mapped;

	if (fd < 0)
		return;
	mapped = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (mapped != MAP_FAILED)
		offset = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*real)(clockid_t, struct timespec *);
	int64_t whole;
	int error;

	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	error = real(clock, now);
	if (error || !offset || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
		return error;
	whole = now->tv_sec * SECOND + now->tv_nsec + *offset;
	now->tv_sec = whole / SECOND;
	now->tv_nsec = whole % SECOND;
	return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &exact);
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *stored)
{
	struct timespec exact;

	clock_gettime(CLOCK_REALTIME, &exact);
	if (stored)
		*stored = exact.tv_sec;
	return exact.tv_sec;
}
