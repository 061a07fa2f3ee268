/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: once its listeners are open, a server serves, drains and stops with the system calls that
 * docs/reliability.md lists for a seccomp filter, and no other.
 * How: a child puts the filter on all of its threads, which kills it at any other call; the parent
 * is its client, then its SIGTERM.
 * Not proved: what a program's own handlers call, and what opening more listeners would.
 */
#include "client.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What docs/reliability.md says. */
static const uint32_t allowed[] = {
	__NR_io_uring_enter, /* the shards */
	__NR_io_uring_register, /* their end */
	__NR_futex, /* threads that wait for each other */
	__NR_read, /* a signalfd, eventfds */
	__NR_write, /* eventfds, the log */
	__NR_poll, /* rl_system_run() */
	__NR_ppoll, /* the acceptor */
	__NR_accept4, /* likewise */
	__NR_close,
	__NR_mmap, /* pools that grow */
	__NR_munmap,
	__NR_mprotect,
	__NR_madvise,
	__NR_rt_sigprocmask,
	__NR_exit,
	__NR_exit_group,
	__NR_rseq, /* of the C library, when a thread ends */
	__NR_newfstatat, /* the file of a Unix listener: lstat, connect, unlink */
	__NR_socket,
	__NR_connect,
	__NR_unlink,
};

static bool
confine(void)
{
	struct sock_filter code[RIG_COUNT(allowed) + 3];
	struct sock_fprog program = { .filter = code };
	uint16_t n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < RIG_COUNT(allowed); i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i],
							 (uint8_t)(RIG_COUNT(allowed) - i), 0);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
		       &program) == 0;
}

static int
echo_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	return msg->kind == RL_MSG_RECV ? rl_conn_send(self, msg->recv.data, msg->recv.len)
					: RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def echo = { .name = "echo", .receive = echo_receive };

/* Opens two listeners, says so, locks itself in, and runs until a signal. */
static int
serve(const char *unix_url)
{
	struct rl_config config = RL_CONFIG(.shards = rig_shards(), .without = rig_without());
	const char *accept = getenv("RL_TEST_ACCEPT");
	char url[RL_URL_MAX];
	struct rl_system *sys;
	rl_listener_id id;
	int rc;

	if (accept != NULL && strcmp(accept, "round_robin") == 0) {
		config.accept_mode = RL_ACCEPT_ROUND_ROBIN;
	}
	rc = rl_system_start(&config, &sys);
	if (rc == 0) {
		rc = rl_listener_open(sys, unix_url, &echo, NULL, NULL);
	}
	if (rc == 0) {
		rc = rl_listener_open(sys, "tcp://127.0.0.1:0", &echo, NULL, &id);
	}
	if (rc == 0) {
		rc = rl_listener_url(sys, id, url);
	}
	if (rc == 0 && confine()) {
		(void)!write(STDOUT_FILENO, url, strlen(url));
		rc = rl_system_run(sys);
	}
	rl_system_stop(sys);
	return rc == 0 ? 0 : 1;
}

static void
echo_once(const char *url)
{
	int fds[50];

	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		fds[i] = client_dial(url);
		client_send_text(fds[i], "hello");
	}
	for (size_t i = 0; i < RIG_COUNT(fds); i++) {
		client_recv_text(fds[i], "hello");
		if (i % 3 == 0) {
			client_reset(fds[i]);
			continue;
		}
		client_shut(fds[i]);
		client_expect_fin(fds[i]);
		client_close(fds[i]);
	}
}

static void
server_serves_and_ends_behind_the_filter(void **state)
{
	char folder[] = "/tmp/ringline-test-XXXXXX";
	char unix_url[RL_URL_MAX];
	char url[RL_URL_MAX] = "";
	int pipes[2];
	int status;
	pid_t child;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(unix_url, sizeof(unix_url), "unix:%s/socket", folder);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)dup2(pipes[1], STDOUT_FILENO);
		(void)execl("/proc/self/exe", "server", unix_url, NULL);
		_exit(127);
	}
	client_close(pipes[1]);
	assert_true(read(pipes[0], url, sizeof(url) - 1) > 1);
	echo_once(url);
	echo_once(unix_url);
	fd = client_dial(url);
	client_send_text(fd, "last");
	client_recv_text(fd, "last");
	assert_int_equal(kill(child, SIGTERM), 0);
	client_expect_fin(fd);
	client_close(fd);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status)) {
		print_error("the filter ended it: signal %d\n", WTERMSIG(status));
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(rmdir(folder), 0); /* its file was removed, too */
	client_close(pipes[0]);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_serves_and_ends_behind_the_filter),
	};

	if (argc > 1) {
		return serve(argv[1]);
	}
	return rig_run("confined", tests);
}
