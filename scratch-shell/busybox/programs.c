/*
 * Licensed under GPLv2, as busybox is, which this file is compiled into.
 *
 * Runs the programs that the user has brought along ("kdiag shell --with"), by their names. They are
 * files in memory, which "kdiag enter" leaves open: no file system has them, so PATH cannot lead to
 * them. They come before applets and the container's programs of the same names. The linker's --wrap
 * redirects find_applet_by_name to this file; exec.c and ash (brought-programs.patch) ask it first.
 *
 * A caller may be a child that shares its parent's memory, so nothing here may allocate memory or keep
 * state, but for the names, which are read before main.
 */
//kbuild:lib-y += programs.o
#include "libbb.h"
#include <sys/syscall.h>

/*
 * The sealed file in memory that lists the names, each with a NUL after it, and the first program. The
 * others follow in the list's order. Keep them the same as in enter.
 */
#define LIST_FD 62
#define FIRST_FD 63
#define MOST_PROGRAMS 8
#define MOST_NAMES 1024

int kdiag_is_sealed(int fd); /* exec.c */
int kdiag_find_program(const char *name);
int kdiag_exec_program(const char *name, char *const argv[], char *const envp[]);
void kdiag_pass_programs(int on);
int __real_find_applet_by_name(const char *name) FAST_FUNC;
int __wrap_find_applet_by_name(const char *name) FAST_FUNC;

static char names[MOST_NAMES + 1];
static int length;

/* Passes them on to applets that this program executes (exec.c), but not to other programs. */
void kdiag_pass_programs(int on)
{
	const char *name;
	int fd = FIRST_FD;

	if (length == 0)
		return;
	fcntl(LIST_FD, F_SETFD, on ? 0 : FD_CLOEXEC);
	for (name = names; name < names + length && fd < FIRST_FD + MOST_PROGRAMS; name += strlen(name) + 1)
		fcntl(fd++, F_SETFD, on ? 0 : FD_CLOEXEC);
}

static void __attribute__((constructor)) read_names(void)
{
	ssize_t n;

	if (!kdiag_is_sealed(LIST_FD))
		return;
	n = pread(LIST_FD, names, MOST_NAMES, 0);
	length = n > 0 ? n : 0;
	kdiag_pass_programs(0);
}

/* Returns the descriptor of the program with a name, or -1. */
int kdiag_find_program(const char *name)
{
	const char *known;
	int fd = FIRST_FD;

	for (known = names; known < names + length && fd < FIRST_FD + MOST_PROGRAMS; known += strlen(known) + 1) {
		if (strcmp(known, name) == 0)
			return kdiag_is_sealed(fd) ? fd : -1;
		fd++;
	}
	return -1;
}

/* Executes the program with a name. Returns 0 if there is none, and 1 if it cannot be executed. */
int kdiag_exec_program(const char *name, char *const argv[], char *const envp[])
{
	int fd = kdiag_find_program(name);

	if (fd < 0)
		return 0;
	syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
	return 1;
}

int FAST_FUNC __wrap_find_applet_by_name(const char *name)
{
	return kdiag_find_program(name) < 0 ? __real_find_applet_by_name(name) : -1;
}
