/*
 * Licensed under GPLv2, as busybox is, which this file is compiled into.
 *
 * A shell for the applets that ask for one by its path, in a file system that has none: watch, awk's system() and pipes,
 * vi's :!, script, unshare and chroot without a command. All of them, and libc's system() and popen(), end in execve of
 * /bin/sh; the linker's --wrap leads that call here.
 */
//kbuild:lib-y += execve.o
#include <errno.h>
#include <string.h>
#include <unistd.h>

int __real_execve(const char *path, char *const argv[], char *const envp[]);
int __wrap_execve(const char *path, char *const argv[], char *const envp[]);

/* posix_spawn calls this in a child that shares its parent's memory: nothing here may allocate or keep state. */
int __wrap_execve(const char *path, char *const argv[], char *const envp[])
{
	__real_execve(path, argv, envp);
	/* A real shell goes first. Every caller's argv[0] is some spelling of "sh", by which busybox knows what to be. */
	if (errno == ENOENT && strcmp(path, "/bin/sh") == 0) {
		__real_execve("/proc/self/exe", argv, envp);
		errno = ENOENT;
	}
	return -1;
}
