/*
 * Licensed under GPLv2, as busybox is, which this file is compiled into.
 *
 * Shows the container's mounts to a shell that entered by chroot. Such a shell is in another mount
 * namespace than the container's processes, so the kernel lists none of the container's mounts in
 * /proc/self. This file reads them from /proc/PID of a process in the container instead. The
 * linker's --wrap redirects all calls of open and fopen to it, including libc's own, as in
 * setmntent. It also opens the lists of users with care.
 */
//kbuild:lib-y += mounts.o
#include "libbb.h"
#include <sys/statfs.h>

/*
 * "kdiag enter" keeps /proc/PID of the target's process open at this number. Keep it the same as
 * processFD in enter.
 */
#define PROCESS_FD 61
#define PROC_MAGIC 0x9fa0

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

static int has_process(void)
{
	struct statfs fs;
	return fstatfs(PROCESS_FD, &fs) == 0 && fs.f_type == PROC_MAGIC;
}

/*
 * Passes it on to applets that this program executes (exec.c), but not to the container's
 * programs.
 */
void kdiag_pass_process(int on);
void kdiag_pass_process(int on)
{
	if (has_process())
		fcntl(PROCESS_FD, F_SETFD, on ? 0 : FD_CLOEXEC);
}

static void __attribute__((constructor)) keep_process(void)
{
	kdiag_pass_process(0);
}

/* Returns the name of a file in /proc/PID that stands for the path, or NULL. */
static const char *mounts_file(const char *path)
{
	if (!path)
		return NULL; /* vi without a file; the kernel answers EFAULT */
	if (strcmp(path, "/proc/mounts") == 0 || strcmp(path, "/proc/self/mounts") == 0 || strcmp(path, "/etc/mtab") == 0)
		return "mounts";
	if (strcmp(path, "/proc/self/mountinfo") == 0)
		return "mountinfo";
	return NULL;
}

/* Returns -1 for any other path, or if the process has ended. */
static int open_mounts(const char *path, int flags)
{
	const char *file = mounts_file(path);

	if (!file || (flags & O_ACCMODE) != O_RDONLY || !has_process())
		return -1;
	return openat(PROCESS_FD, file, flags);
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list rest;
	int mode, fd = open_mounts(path, flags);

	if (fd >= 0)
		return fd;
	va_start(rest, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
	va_end(rest);
	return __real_open(path, flags, mode);
}

/*
 * The prompt reads the list of users. If the container has a pipe in its place, the shell must not
 * hang, and if it has a device, that must not fill the shell's memory.
 */
#define MOST_OF_USERS (256 * 1024)

static FILE *fopen_users(const char *path, const char *mode)
{
	struct stat st;
	int fd = __real_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= MOST_OF_USERS)
		return fdopen(fd, mode);
	close(fd);
	errno = ENOENT;
	return NULL;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
	if (mode[0] == 'r' && !strchr(mode, '+') && path && (strcmp(path, "/etc/passwd") == 0 || strcmp(path, "/etc/group") == 0))
		return fopen_users(path, mode);

	int fd = mode[0] == 'r' && !strchr(mode, '+') ? open_mounts(path, O_RDONLY | O_CLOEXEC) : -1;

	return fd >= 0 ? fdopen(fd, mode) : __real_fopen(path, mode);
}
