/*
 * full.c
 *	  A file system that is full, for tests: LD_PRELOAD=full.so.
 *
 * While the file named by $MM_FULL exists, files in the directory that is
 * written in it do not grow: what would make them larger fails with ENOSPC.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Is fd a file in the directory, and shorter than that? */
static int
is_full(int fd, off_t end)
{
	const char *name = getenv("MM_FULL");
	int			file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	char		directory[PATH_MAX];
	char		link[64];
	char		path[PATH_MAX];
	struct stat status;
	ssize_t		n;

	if (file < 0)
		return 0;
	n = read(file, directory, sizeof(directory) - 1);
	close(file);
	if (n <= 0)
		return 0;
	directory[n] = '\0';
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = '\0';
	return strncmp(path, directory, strlen(directory)) == 0 &&
		fstat(fd, &status) == 0 && end > status.st_size;
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	ssize_t		(*real) (int, const void *, size_t, off_t) =
		dlsym(RTLD_NEXT, "pwrite");

	if (!is_full(fd, offset + (off_t) size))
		return real(fd, data, size, offset);
	errno = ENOSPC;
	return -1;
}

ssize_t
pwritev(int fd, const struct iovec *parts, int n, off_t offset)
{
	ssize_t		(*real) (int, const struct iovec *, int, off_t) =
		dlsym(RTLD_NEXT, "pwritev");

	if (!is_full(fd, offset + 1))
		return real(fd, parts, n, offset);
	errno = ENOSPC;
	return -1;
}

/* Returns the error. */
int
posix_fallocate(int fd, off_t offset, off_t size)
{
	int			(*real) (int, off_t, off_t) = dlsym(RTLD_NEXT,
													"posix_fallocate");

	return is_full(fd, offset + size) ? ENOSPC : real(fd, offset, size);
}

ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));
