/*
 * Licensed under GPLv2, as busybox is, which this file is compiled into.
 *
 * How the shell executes itself again, and what it executes in place of programs that its applets name. The linker's --wrap
 * leads the calls of libc's exec family here, libc's own included.
 *
 * Callers may be in a child that shares its parent's memory: nothing here may allocate or keep state.
 */
//kbuild:lib-y += exec.o
#include "libbb.h"
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef F_GET_SEALS
# define F_GET_SEALS 1034
#endif

/*
 * "kdiag enter" leaves the file in memory that this program is in open at this number. /proc/self/exe would be whatever the
 * container has at that path, which is root's word for a program of its choice where it can change its root.
 * Keep in step with enter's programFD.
 */
#define PROGRAM_FD 60
/* Seal, shrink, grow, write: what enter sealed it with (fcntl(2), F_ADD_SEALS). */
#define SEALS 0x0f

int kdiag_runs_from_memory(void);
void kdiag_pass_process(int on); /* mounts.c */
int __real_execve(const char *path, char *const argv[], char *const envp[]);
int __wrap_execve(const char *path, char *const argv[], char *const envp[]);
int __real_execvp(const char *file, char *const argv[]);
int __wrap_execvp(const char *file, char *const argv[]);

int kdiag_runs_from_memory(void)
{
	int seals = fcntl(PROGRAM_FD, F_GET_SEALS);
	return seals >= 0 && (seals & SEALS) == SEALS;
}

/*
 * Programs of the container do not get it. Nor may they look into the shell and its tools, as one with the same user and
 * capabilities may otherwise: at the user's terminal, and at what the shell has in memory (prctl(2), PR_SET_DUMPABLE).
 */
static void __attribute__((constructor)) keep_program(void)
{
	if (!kdiag_runs_from_memory())
		return;
	fcntl(PROGRAM_FD, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int exec_self(char *const argv[], char *const envp[])
{
	int e;

	if (!kdiag_runs_from_memory())
		return __real_execve(bb_busybox_exec_path, argv, envp);

	fcntl(PROGRAM_FD, F_SETFD, 0);
	kdiag_pass_process(1);
	syscall(SYS_execveat, PROGRAM_FD, "", argv, envp, AT_EMPTY_PATH);
	e = errno;
	fcntl(PROGRAM_FD, F_SETFD, FD_CLOEXEC);
	kdiag_pass_process(0);
	errno = e;
	return -1;
}

/*
 * A shell by its path is ours where an applet asks for one: watch, awk's system() and pipes, vi's :!, script, unshare and
 * chroot without a command. Where the user types the path in a shell, the container's is meant; without one, ours does.
 * Every caller's argv[0] is some spelling of "sh", by which busybox knows what to be.
 */
int __wrap_execve(const char *path, char *const argv[], char *const envp[])
{
	int is_shell = strcmp(path, "/bin/sh") == 0;

	if (strcmp(path, bb_busybox_exec_path) == 0)
		return exec_self(argv, envp);
	if (is_shell && strcmp(applet_name, "ash") != 0 && strcmp(applet_name, "sh") != 0)
		return exec_self(argv, envp);

	__real_execve(path, argv, envp);
	if (errno == ENOENT && is_shell) {
		exec_self(argv, envp);
		errno = ENOENT;
	}
	return -1;
}

/* A program by its name, in applets that do not ask for an applet first: tar's gzip, reset's stty. */
int __wrap_execvp(const char *file, char *const argv[])
{
	if (strcmp(file, bb_busybox_exec_path) == 0 || find_applet_by_name(file) >= 0)
		return exec_self(argv, environ);
	return __real_execvp(file, argv);
}
