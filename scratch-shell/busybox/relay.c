/*
 * Licensed under GPLv2, as busybox is, which this file is compiled into.
 *
 * Stays as the parent of a shell until the laptop has got all of its output. Kubelets and runtimes
 * close an exec's streams when its process ends, and what is under way then is lost on a slow link.
 * "kdiag enter" asks for it by the word "kdiag-relay" before "ash". mux/wire/relay.go describes what
 * is said to the laptop; keep the two in step.
 *
 * Without a terminal it also carries the three streams, so that neither a slow reader nor a shell
 * that does not read ever blocks the connection: each side sends only what the other has room for.
 */
//kbuild:lib-y += relay.o
#include "libbb.h"
#include <poll.h>
#include <sys/prctl.h>
#include <sys/random.h>

/* busybox's own is set up in main, which has not begun here. */
#undef errno
#define errno (*__errno_location())

#define WORD "kdiag-relay"
/* The names of the shells that enter starts; the session's ID follows. */
#define NAME "busybox-kdiag-"

int kdiag_runs_from_memory(void); /* exec.c */
int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);

enum {
	HEAD = 5,                 /* a frame begins with its kind and a number of 4 bytes */
	PART = 32 * 1024,         /* the most that one frame carries */
	INPUT_ROOM = 1024 * 1024, /* what the laptop may send of stdin before it hears of room */
	OUTPUT_ROOM = 4 * 1024 * 1024, /* what it has room for, in each of the other two */
	/* Seconds: the lifeline, a process of its own, hangs up sooner, if there is one. */
	HANG_UP_AFTER = 5,
	KILL_AFTER = 17,
	HOLD_TERMINAL = 3600,
	SECRET = 16, /* bytes */
};

struct relay {
	pid_t shell;
	int code; /* the shell's exit code, or -1 while it runs */
	int gone; /* when the laptop went, in seconds, or 0 */
	int done; /* the laptop has everything */
	int told; /* the laptop was told the exit code */
	int alone; /* no child is left */

	int to;              /* the shell's stdin, or -1 */
	int from[2];         /* its stdout and stderr, or -1 */
	int next;            /* which of the two has its turn */
	unsigned room[2];    /* what the laptop has room for */
	char *input;         /* a ring of what the shell has not read yet */
	unsigned at, length; /* of what is in it */
	unsigned taken;      /* by the shell, without the laptop knowing */
	int input_ended;

	unsigned char head[HEAD]; /* of the frame that is arriving */
	unsigned have, left;      /* of the head; of what follows it */

	unsigned char out[HEAD + PART]; /* the frame that is being sent */
	unsigned sent, size;
};

/* It need do nothing: ppoll returns. */
static void note_child(int sig UNUSED_PARAM)
{
}

static void put_number(unsigned char *to, unsigned n)
{
	to[0] = n >> 24;
	to[1] = n >> 16;
	to[2] = n >> 8;
	to[3] = n;
}

static void put_frame(struct relay *r, int kind, unsigned number)
{
	r->out[0] = kind;
	put_number(r->out + 1, number);
	r->sent = 0;
	r->size = HEAD;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The laptop has gone. The shell's input ends, and its output goes nowhere. */
static void lose_laptop(struct relay *r)
{
	if (!r->gone)
		r->gone = monotonic_sec() | 1;
	r->size = r->sent = 0;
	r->length = 0;
	close_fd(&r->to);
}

/* Waits for the shell, and for what its children leave behind. Nothing stays stopped: there is
 * nobody to continue it. */
static void reap(struct relay *r)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid != r->shell)
			continue;
		if (WIFSTOPPED(status))
			kill(-pid, SIGCONT);
		else
			r->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
	r->alone = pid < 0 && errno == ECHILD;
}

/* Handles what is known once a frame's head has arrived. */
static void begin_frame(struct relay *r)
{
	unsigned number = (unsigned)r->head[1] << 24 | r->head[2] << 16 | r->head[3] << 8 | r->head[4];

	switch (r->head[0]) {
	case 'i':
		r->left = number;
		if (number > INPUT_ROOM - r->length)
			lose_laptop(r); /* it does not keep to the rules */
		break;
	case 'e':
		r->input_ended = 1;
		break;
	case 'o':
		r->room[0] += number;
		break;
	case 'r':
		r->room[1] += number;
		break;
	case 'q':
		r->done = 1;
		break;
	}
}

/* Takes what has arrived from the laptop. */
static void take(struct relay *r, unsigned char *p, unsigned n)
{
	while (n > 0 && !r->gone) {
		if (r->left > 0) {
			unsigned end = (r->at + r->length) % INPUT_ROOM;
			unsigned part = MIN(MIN(n, r->left), INPUT_ROOM - end);

			if (r->to >= 0) {
				memcpy(r->input + end, p, part);
				r->length += part;
			}
			r->left -= part;
			p += part;
			n -= part;
			continue;
		}
		r->head[r->have++] = *p++;
		n--;
		if (r->have == HEAD) {
			r->have = 0;
			begin_frame(r);
		}
	}
}

static void read_laptop(struct relay *r)
{
	static unsigned char buffer[PART];
	ssize_t n = read(0, buffer, sizeof(buffer));

	if (n > 0)
		take(r, buffer, n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		lose_laptop(r);
}

static void write_laptop(struct relay *r)
{
	ssize_t n = write(1, r->out + r->sent, r->size - r->sent);

	if (n < 0 && errno != EINTR && errno != EAGAIN)
		lose_laptop(r);
	if (n > 0)
		r->sent += n;
	if (r->sent == r->size)
		r->sent = r->size = 0;
}

static void write_shell(struct relay *r)
{
	ssize_t n = write(r->to, r->input + r->at, MIN(r->length, INPUT_ROOM - r->at));

	if (n < 0 && errno != EINTR && errno != EAGAIN) {
		/* It does not want more. The laptop stops when it hears of no more room. */
		close_fd(&r->to);
		r->length = 0;
	}
	if (n > 0) {
		r->at = (r->at + n) % INPUT_ROOM;
		r->length -= n;
		r->taken += n;
	}
	if (r->length == 0)
		r->at = 0; /* touch no more of the ring than is needed */
}

/* Reads from one of the shell's outputs into a frame. */
static void read_shell(struct relay *r, int i)
{
	unsigned most = r->gone ? PART : MIN(r->room[i], PART);
	ssize_t n = read(r->from[i], r->out + HEAD, most);

	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		close_fd(&r->from[i]);
	if (n <= 0 || r->gone)
		return;
	r->next = !i;
	put_frame(r, i == 0 ? 'o' : 'r', n);
	r->size += n;
	r->room[i] -= n;
}

/* Prepares the next frame that is no output, if there is anything to say. */
static void say_next(struct relay *r)
{
	if (r->size > 0 || r->gone)
		return;
	if (r->taken > 0 && (r->length == 0 || r->taken >= INPUT_ROOM / 4)) {
		put_frame(r, 'i', r->taken);
		r->taken = 0;
	} else if (r->code >= 0 && r->from[0] < 0 && r->from[1] < 0 && !r->told) {
		put_frame(r, 'x', r->code);
		r->told = 1;
	}
}

/* Ends a shell that has nobody, and that no lifeline ends. Returns for how many milliseconds to
 * wait until the next look, or -1. */
static int hang_up(struct relay *r)
{
	int passed;

	if (!r->gone)
		return -1;
	passed = (int)monotonic_sec() - r->gone;
	if (r->code < 0 && passed >= HANG_UP_AFTER) {
		kill(-r->shell, SIGHUP);
		kill(-r->shell, SIGCONT);
	}
	if (r->code < 0 && passed >= KILL_AFTER)
		kill(r->shell, SIGKILL);
	return 1000;
}

static void watch(struct pollfd *p, int fd, int events)
{
	/* Without an event, even POLLHUP would be told again and again. */
	p->fd = events ? fd : -1;
	p->events = events;
	p->revents = 0;
}

static void relay_once(struct relay *r, const sigset_t *mask)
{
	struct pollfd fds[5];
	struct timespec wait;
	int i, first, ms, idle;

	reap(r);
	if (r->input_ended && r->length == 0)
		close_fd(&r->to);
	say_next(r);

	idle = r->size == 0;
	watch(&fds[0], 0, r->gone ? 0 : POLLIN);
	watch(&fds[1], 1, idle ? 0 : POLLOUT);
	watch(&fds[2], r->to, r->length > 0 ? POLLOUT : 0);
	for (i = 0; i < 2; i++)
		watch(&fds[3 + i], r->from[i], idle && (r->gone || r->room[i] > 0) ? POLLIN : 0);

	ms = hang_up(r);
	wait.tv_sec = ms / 1000;
	wait.tv_nsec = 0;
	if (ppoll(fds, 5, ms < 0 ? NULL : &wait, mask) <= 0)
		return;

	if (fds[0].revents)
		read_laptop(r);
	if (fds[1].revents && !r->gone)
		write_laptop(r);
	if (fds[2].revents && r->to >= 0)
		write_shell(r);
	/* One frame fits at a time. Each output has its turn: a program may write to both without end. */
	first = r->next;
	for (i = 0; i < 2; i++)
		if (fds[3 + (first ^ i)].revents && r->size == 0)
			read_shell(r, first ^ i);
}

/* Whether the laptop has gone, and nothing is left to do. The lifeline ends the rest of the session,
 * and this process last: it waits for those that end. */
static int is_left(struct relay *r)
{
	return r->gone && r->code >= 0 && (r->alone || (int)monotonic_sec() - r->gone >= KILL_AFTER);
}

static void relay_streams(struct relay *r, const sigset_t *mask)
{
	r->input = xmalloc(INPUT_ROOM);
	r->room[0] = r->room[1] = OUTPUT_ROOM;
	ndelay_on(1);
	ndelay_on(r->to);
	r->size = sprintf((char *)r->out, "%s", "kdiagR1\n");

	while (!r->done && !is_left(r))
		relay_once(r, mask);
}

static void tell_terminal(const char *text)
{
	while (*text) {
		ssize_t n = write(1, text, strlen(text));

		if (n > 0)
			text += n;
		else if (errno != EINTR)
			break;
	}
}

/* Makes a secret for a terminal's session and tells the laptop, before anything of the target's can
 * write there. The session's ID is in the command line, where the target can read it: with that alone
 * it could print that the shell has ended. */
static void begin_terminal(const char *session, char *secret)
{
	unsigned char random[SECRET];
	char text[160];

	if (getrandom(random, SECRET, 0) != SECRET)
		bb_simple_perror_msg_and_die("getrandom");
	*bin2hex(secret, (char *)random, SECRET) = 0;
	sprintf(text, "\033_kdiag;begin;%.64s;%s\033\\", session, secret);
	tell_terminal(text);
}

/* Tells the laptop, on the terminal, that the shell has ended, and waits until it says that it has
 * read that. */
static void hold_terminal(struct relay *r, const char *secret, const sigset_t *mask)
{
	struct termios raw;
	struct timespec wait = { 1, 0 };
	struct pollfd in = { 0, POLLIN, 0 };
	char text[160], answer[160], got[256];
	unsigned end, have = 0, length;

	while (r->code < 0) {
		reap(r);
		if (r->code < 0)
			ppoll(NULL, 0, NULL, mask);
	}

	tcsetpgrp(0, getpid());
	if (tcgetattr(0, &raw) == 0) {
		cfmakeraw(&raw);
		tcsetattr(0, TCSANOW, &raw);
	}
	tcflush(0, TCIFLUSH);
	sprintf(text, "\033_kdiag;end;%s;%d\033\\", secret, r->code);
	length = sprintf(answer, "\033_kdiag;all;%s\033\\", secret);
	tell_terminal(text);

	for (end = monotonic_sec() + HOLD_TERMINAL; monotonic_sec() < end;) {
		ssize_t n;

		reap(r);
		if (ppoll(&in, 1, &wait, mask) <= 0)
			continue;
		if (have + length >= sizeof(got)) {
			memmove(got, got + have - length, length);
			have = length;
		}
		n = read(0, got + have, sizeof(got) - have);
		if (n <= 0)
			break;
		have += n;
		if (memmem(got, have, answer, length))
			break;
	}
}

/* Runs in the child, which goes on as the shell. */
static void become_shell(int terminal, int pipes[3][2], const sigset_t *mask)
{
	int i;

	/* A group of its own: "kill 0" in the shell is not for its parent. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGHUP, 0, 0, 0);
	if (terminal)
		tcsetpgrp(0, getpid()); /* SIGTTOU is blocked */
	for (i = 0; i < 3 && !terminal; i++) {
		int own = i > 0;

		close(pipes[i][!own]);
		xmove_fd(pipes[i][own], i);
	}
	sigprocmask(SIG_SETMASK, mask, NULL);
}

static void ignore_signals(void)
{
	static const unsigned char ignored[] = {
		SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU,
	};
	unsigned i;

	/* Not SIGHUP, by which the lifeline ends a session. */
	for (i = 0; i < sizeof(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

/* Returns in the child. */
static void run_relay(const char *session)
{
	int terminal = isatty(0) && isatty(1);
	struct relay *r = xzalloc(sizeof(*r));
	char secret[2 * SECRET + 1];
	int pipes[3][2], i;
	sigset_t blocked, before, waiting;

	if (terminal)
		begin_terminal(session, secret);
	for (i = 0; i < 3 && !terminal; i++)
		xpipe(pipes[i]);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGTTOU);
	sigprocmask(SIG_BLOCK, &blocked, &before);

	/* What the shell leaves behind is reaped here: the target's PID 1 seldom waits for orphans. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	r->code = -1;
	r->shell = fork();
	if (r->shell < 0)
		bb_simple_perror_msg_and_die("fork");
	if (r->shell == 0) {
		free(r);
		become_shell(terminal, pipes, &before);
		return;
	}

	setpgid(r->shell, r->shell);
	waiting = before;
	sigdelset(&waiting, SIGCHLD);
	ignore_signals();
	signal(SIGCHLD, note_child);
	if (terminal) {
		hold_terminal(r, secret, &waiting);
	} else {
		close(pipes[0][0]);
		close(pipes[1][1]);
		close(pipes[2][1]);
		r->to = pipes[0][1];
		r->from[0] = pipes[1][0];
		r->from[1] = pipes[2][0];
		relay_streams(r, &waiting);
	}
	reap(r);
	_exit(r->code < 0 ? 1 : r->code);
}

/* Takes the word out of the command line, which others see, too. Its words lie one after another. */
static void drop_word(int argc, char **argv)
{
	char *end = argv[argc - 1] + strlen(argv[argc - 1]) + 1;
	int i, length = argv[2] - argv[1];

	memmove(argv[1], argv[2], end - argv[2]);
	memset(end - length, 0, length);
	for (i = 1; i < argc - 1; i++)
		argv[i] = argv[i + 1] - length;
	argv[argc - 1] = NULL;
}

int __wrap_main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], WORD) == 0 && strncmp(argv[0], NAME, strlen(NAME)) == 0 && kdiag_runs_from_memory()) {
		run_relay(argv[0] + strlen(NAME));
		drop_word(argc, argv);
		argc--;
	}
	return __real_main(argc, argv);
}
