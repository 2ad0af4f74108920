/*
 * Licensed under GPLv2, as busybox is, which this file is compiled into.
 *
 * Some applets run another program where busybox gives no applet the preference. In a file system without programs they
 * get the applet all the same. The linker's --wrap leads the calls of libc's exec family here, libc's own included.
 *
 * Callers may be in a child that shares its parent's memory: nothing here may allocate or keep state.
 */
//kbuild:lib-y += exec.o
#include "libbb.h"

int __real_execve(const char *path, char *const argv[], char *const envp[]);
int __wrap_execve(const char *path, char *const argv[], char *const envp[]);
int __real_execvp(const char *file, char *const argv[]);
int __wrap_execvp(const char *file, char *const argv[]);

/*
 * A shell by its path: watch, awk's system() and pipes, vi's :!, script, unshare and chroot without a command. A real one
 * goes first. Every caller's argv[0] is some spelling of "sh", by which busybox knows what to be.
 */
int __wrap_execve(const char *path, char *const argv[], char *const envp[])
{
	__real_execve(path, argv, envp);
	if (errno == ENOENT && strcmp(path, "/bin/sh") == 0) {
		__real_execve(bb_busybox_exec_path, argv, envp);
		errno = ENOENT;
	}
	return -1;
}

/* A program by its name: tar's gzip, reset's stty. */
int __wrap_execvp(const char *file, char *const argv[])
{
	__real_execvp(file, argv);
	if (errno == ENOENT && find_applet_by_name(file) >= 0) {
		__real_execve(bb_busybox_exec_path, argv, environ);
		errno = ENOENT;
	}
	return -1;
}
