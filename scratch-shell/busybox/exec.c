/*
 * Licensed under GPLv2, as busybox is, which this file is compiled into.
 *
 * Executes the shell again for its applets, and in place of programs that its applets name. The
 * linker's --wrap redirects all calls of libc's exec functions to this file, including libc's own.
 *
 * A caller may be a child that shares its parent's memory, so nothing here may allocate memory or
 * keep state.
 */
//kbuild:lib-y += exec.o
#include "libbb.h"
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef F_GET_SEALS
# define F_GET_SEALS 1034
#endif

/*
 * "kdiag enter" keeps the memory file that holds this program open at this number. /proc/self/exe
 * will not do: it is whatever the container has at that path, and a container that can change its
 * root can put any program there. Keep it the same as programFD in enter.
 */
#define PROGRAM_FD 60
/* The seals that enter puts on it: seal, shrink, grow, write (fcntl(2), F_ADD_SEALS). */
#define SEALS 0x0f

int kdiag_runs_from_memory(void);
int kdiag_is_sealed(int fd);
void kdiag_pass_process(int on); /* mounts.c */
void kdiag_pass_programs(int on); /* programs.c */
int kdiag_exec_program(const char *name, char *const argv[], char *const envp[]);
int __real_execve(const char *path, char *const argv[], char *const envp[]);
int __wrap_execve(const char *path, char *const argv[], char *const envp[]);
int __real_execvp(const char *file, char *const argv[]);
int __wrap_execvp(const char *file, char *const argv[]);

/* Reports whether a descriptor is a file in memory that nobody can change any more. */
int kdiag_is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && (seals & SEALS) == SEALS;
}

int kdiag_runs_from_memory(void)
{
	return kdiag_is_sealed(PROGRAM_FD);
}

/*
 * Keeps the file from the container's programs. Also keeps those from looking into the shell and
 * its applets: a program with the same user and capabilities could otherwise read the shell's
 * memory and the user's terminal (prctl(2), PR_SET_DUMPABLE).
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
	kdiag_pass_programs(1);
	syscall(SYS_execveat, PROGRAM_FD, "", argv, envp, AT_EMPTY_PATH);
	e = errno;
	fcntl(PROGRAM_FD, F_SETFD, FD_CLOEXEC);
	kdiag_pass_process(0);
	kdiag_pass_programs(0);
	errno = e;
	return -1;
}

/*
 * Executes this shell when an applet asks for /bin/sh: watch, awk's system() and pipes, vi's :!,
 * script, unshare, and chroot without a command. A user who types that path in a shell means the
 * container's shell, and gets this one only if the container has none. Every caller sets argv[0]
 * to some spelling of "sh", which tells busybox what to be.
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

/*
 * Prefers applets to programs of the same name, for applets that do not do so themselves: tar runs
 * gzip, reset runs stty.
 */
int __wrap_execvp(const char *file, char *const argv[])
{
	if (kdiag_exec_program(file, argv, environ))
		return -1;
	if (strcmp(file, bb_busybox_exec_path) == 0 || find_applet_by_name(file) >= 0)
		return exec_self(argv, environ);
	return __real_execvp(file, argv);
}
