/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: an actor learns who the peer of its Unix socket is; a listener's file has the mode that
 * was asked for, replaces nothing but a socket that nobody listens on, and is removed only if it is
 * the one that was made; what is refused is refused by name.
 * How: a child as the peer, and files, links and sockets of other kinds on the path.
 * Not proved: two programs that take the same path in the same instant.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	MARK_EARLY, /* what rl_conn_peer_cred() answered before RL_MSG_OPEN, negated */
	MARK_OPEN, /* in it */
	MARK_PID,
	MARK_UID,
	MARK_GID,
	MARK_LATE, /* in RL_MSG_STOP */
};

static int
asks_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct rl_peer_cred cred = { 0 };
	int rc = rl_conn_peer_cred(self, &cred);
	struct probe *probe;

	if (msg->kind == RL_MSG_OPEN) {
		probe = probe_of(self);
		atomic_store(&probe->marks[MARK_PID], (uint64_t)cred.pid);
		atomic_store(&probe->marks[MARK_UID], cred.uid);
		atomic_store(&probe->marks[MARK_GID], cred.gid);
		atomic_store(&probe->marks[MARK_OPEN], (uint64_t)-rc);
	}
	if (msg->kind == RL_MSG_STOP) {
		atomic_store(&probe_of(self)->marks[MARK_LATE], (uint64_t)-rc);
	}
	probe = probe_note(self, msg);
	if (msg->kind == RL_MSG_START) {
		atomic_store(&probe->marks[MARK_EARLY], (uint64_t)-rc);
	}
	return RL_ACTOR_UNHANDLED;
}

static const struct rl_actor_def asks = {
	.name = "asks",
	.receive = asks_receive,
	.state_size = sizeof(struct probed),
};

/* A child that connects, and stays until it is let go. */
static pid_t
child_dial(const char *url, int *hold)
{
	struct client_addr addr = client_addr(url);
	int pipes[2];
	pid_t child;
	char byte;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		(void)close(pipes[1]);
		if (fd < 0 || connect(fd, (struct sockaddr *)&addr.addr, addr.len) != 0) {
			_exit(1);
		}
		_exit(read(pipes[0], &byte, 1) == 0 ? 0 : 1);
	}
	client_close(pipes[0]);
	*hold = pipes[1];
	return child;
}

static void
peer_of_an_accepted_connection_is_known(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	struct rl_listener_options options = { .arg = probe, .peer_cred = true };
	int status;
	int hold;
	pid_t child;

	rig_start(rig, RL_CONFIG());
	rig_listen_with(rig, client_unix_name(), &asks, &options);
	child = child_dial(rig->url, &hold);
	rig_await(rig, probe->opens, 1);
	assert_int_equal(probe->marks[MARK_EARLY], ENOTCONN);
	assert_int_equal(probe->marks[MARK_OPEN], 0);
	assert_int_equal(probe->marks[MARK_PID], child);
	assert_int_equal(probe->marks[MARK_UID], geteuid());
	assert_int_equal(probe->marks[MARK_GID], getegid());
	client_close(hold);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	rig_await(rig, probe->stops, 1);
	assert_int_equal(probe->marks[MARK_LATE], ENOTCONN);
	rig_end(rig);
}

/* Without the option only where accepted sockets are plain descriptors anyway. */
static void
peer_that_nobody_asked_for_is_enodata(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	const char *accept = getenv("RL_TEST_ACCEPT");
	bool plain = accept != NULL /* by the acceptor */ ||
		     (rig_without() & RL_FEATURE_FIXED_FILES) != 0;
	int fd;

	rig_start(rig, RL_CONFIG());
	rig_listen(rig, client_unix_name(), &asks, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 1);
	assert_int_equal(probe->marks[MARK_OPEN], plain ? 0 : ENODATA);
	client_close(fd);
	rig_listen(rig, "tcp://127.0.0.1:0", &asks, probe);
	fd = client_dial(rig->url);
	rig_await(rig, probe->opens, 2);
	assert_int_equal(probe->marks[MARK_OPEN], EOPNOTSUPP);
	client_close(fd);
	rig_await(rig, probe->stops, 2);
	rig_end(rig);
}

static void
peer_of_an_opened_connection_is_known(void **state)
{
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];
	char url[RL_URL_MAX];
	struct client_addr addr;
	int listener;
	int fd;

	(void)snprintf(url, sizeof(url), "%s", client_unix_name());
	addr = client_addr(url);
	rig_start(rig, RL_CONFIG());
	listener = client_listen_on(&addr, 1);
	assert_int_equal(rig_open(rig, 0, url, &asks, probe, NULL), 0);
	fd = client_accept(listener);
	rig_await(rig, probe->opens, 1);
	assert_int_equal(probe->marks[MARK_OPEN], 0);
	assert_int_equal(probe->marks[MARK_PID], getpid());
	client_close(fd);
	client_close(listener);
	rig_await(rig, probe->stops, 1);
	rig_end(rig);
}

/* ---- the path */

static char folder[64];
static char path_url[RL_URL_MAX];

#define PATH (path_url + 5)

static void
path_make(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/ringline-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path_url, sizeof(path_url), "unix:%s/socket", folder);
}

static void
path_remove(void)
{
	assert_int_equal(rmdir(folder), 0); /* nothing was left in it */
}

static bool
path_exists(void)
{
	struct stat st;

	return lstat(PATH, &st) == 0;
}

/* A socket of another program's on the path; -1 for @type: a plain file. */
static int
path_take(int type)
{
	struct client_addr addr = client_addr(path_url);
	int fd = type < 0 ? open(PATH, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)
			  : socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (type >= 0) {
		assert_int_equal(bind(fd, (struct sockaddr *)&addr.addr, addr.len), 0);
	}
	return fd;
}

static void
path_is_refused(struct rig *rig, int rc, const char *says)
{
	assert_int_equal(rl_listener_open(rig->sys, path_url, &rig_echo, NULL, NULL), rc);
	rig_assert_logged(rig, says);
	assert_true(path_exists());
	assert_int_equal(unlink(PATH), 0);
}

static void
path_that_is_taken_is_refused_and_left_alone(void **state)
{
	struct rig *rig = *state;
	int fd;

	path_make();
	rig_start(rig, RL_CONFIG());
	client_close(path_take(-1));
	path_is_refused(rig, -EEXIST, "the path is taken by something that is not a socket");
	fd = path_take(SOCK_DGRAM);
	path_is_refused(rig, -EADDRINUSE, "another program listens there");
	client_close(fd);
	fd = path_take(SOCK_STREAM);
	assert_int_equal(listen(fd, 1), 0);
	path_is_refused(rig, -EADDRINUSE, "another program listens there");
	client_close(fd);
	assert_int_equal(symlink("/tmp/elsewhere", PATH), 0);
	path_is_refused(rig, -EEXIST, "the path is taken by something that is not a socket");
	path_remove();
	assert_int_equal(rl_listener_open(rig->sys, path_url, &rig_echo, NULL, NULL), -ENOENT);
	rig_assert_logged(rig, "a folder of the path does not exist");
	rig_end(rig);
}

static void
name_that_is_taken_is_refused(void **state)
{
	struct rig *rig = *state;
	rl_listener_id id;
	char url[RL_URL_MAX];

	(void)snprintf(url, sizeof(url), "%s", client_unix_name());
	rig_start(rig, RL_CONFIG());
	id = rig_listen(rig, url, &rig_echo, NULL);
	assert_int_equal(rl_listener_open(rig->sys, url, &rig_echo, NULL, NULL), -EADDRINUSE);
	rig_assert_logged(rig, "another program listens there");
	assert_int_equal(rl_listener_close(rig->sys, id), 0);
	id = rig_listen(rig, url, &rig_echo, NULL); /* it is free at once */
	assert_int_equal(rl_listener_close(rig->sys, id), 0);
	rig_end(rig);
}

/* Whatever is on the path when the listener closes: only its own file goes. */
static void
file_of_somebody_else_stays(void **state)
{
	static const int others[] = { SOCK_STREAM, SOCK_DGRAM, -1 };
	struct rig *rig = *state;
	rl_listener_id id;
	int fd;

	path_make();
	rig_start(rig, RL_CONFIG());
	id = rig_listen(rig, path_url, &rig_echo, NULL);
	assert_true(path_exists());
	assert_int_equal(rl_listener_close(rig->sys, id), 0);
	assert_false(path_exists());
	for (size_t i = 0; i < RIG_COUNT(others); i++) {
		id = rig_listen(rig, path_url, &rig_echo, NULL);
		assert_int_equal(unlink(PATH), 0);
		client_close(path_take(others[i])); /* its owner is dead */
		assert_int_equal(rl_listener_close(rig->sys, id), 0);
		assert_true(path_exists());
		assert_int_equal(unlink(PATH), 0);
	}
	(void)rig_listen(rig, path_url, &rig_echo, NULL);
	assert_int_equal(unlink(PATH), 0);
	fd = path_take(SOCK_STREAM);
	assert_int_equal(listen(fd, 1), 0);
	rl_system_stop(rig->sys); /* the same at the system's end */
	rig->sys = NULL;
	assert_true(path_exists());
	client_close(fd);
	assert_int_equal(unlink(PATH), 0);
	path_remove();
	rig_end(rig);
}

static void
file_has_the_mode_that_was_asked_for(void **state)
{
	static const struct {
		mode_t mask;
		uint32_t mode;
		mode_t is;
	} modes[] = {
		{ 0022, 0600, 0600 }, { 0077, 0666, 0666 }, /* more than the umask has it */
		{ 0027, 0660, 0660 }, { 0027, 0, 0750 }, /* by the umask */
		{ 0000, 0002, 0002 },
	};
	struct rig *rig = *state;
	mode_t before = umask(0);

	path_make();
	rig_start(rig, RL_CONFIG());
	for (size_t i = 0; i < RIG_COUNT(modes); i++) {
		struct rl_listener_options options = { .unix_mode = modes[i].mode };
		struct stat st;
		rl_listener_id id;

		(void)umask(modes[i].mask);
		id = rig_listen_with(rig, path_url, &rig_echo, &options);
		assert_int_equal(lstat(PATH, &st), 0);
		assert_int_equal(st.st_mode & 07777, modes[i].is);
		assert_int_equal(rl_listener_close(rig->sys, id), 0);
	}
	(void)umask(before);
	rig_end(rig);
	path_remove();
}

static void
option_that_does_not_fit_is_refused_by_name(void **state)
{
	static const struct {
		const char *url;
		struct rl_listener_options options;
		const char *says;
	} wrong[] = {
		{ "unix:/tmp/ringline-mode", { .unix_mode = 01000 }, "unix_mode = 01000" },
		{ "unix:@ringline-mode", { .unix_mode = 0600 }, "unix_mode = 0600: must be 0" },
		{ "tcp://127.0.0.1:0", { .unix_mode = 0600 }, "unix_mode = 0600: must be 0" },
		{ "tcp://127.0.0.1:0", { .peer_cred = true }, "peer_cred: only Unix sockets" },
	};
	struct rig *rig = *state;

	rig_start(rig, RL_CONFIG());
	for (size_t i = 0; i < RIG_COUNT(wrong); i++) {
		assert_int_equal(rl_listener_open(rig->sys, wrong[i].url, &rig_echo,
						  &wrong[i].options, NULL),
				 -EINVAL);
		rig_assert_logged(rig, wrong[i].says);
	}
	rig_end(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(peer_of_an_accepted_connection_is_known),
		rig_case(peer_that_nobody_asked_for_is_enodata),
		rig_case(peer_of_an_opened_connection_is_known),
		rig_case(path_that_is_taken_is_refused_and_left_alone),
		rig_case(name_that_is_taken_is_refused),
		rig_case(file_of_somebody_else_stays),
		rig_case(file_has_the_mode_that_was_asked_for),
		rig_case(option_that_does_not_fit_is_refused_by_name),
	};

	return rig_run("unix", tests);
}
