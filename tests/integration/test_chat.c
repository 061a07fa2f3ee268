/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: in the chat server, whose rooms reach over all shards, every client that reads sees each
 * line of each member, whole and in order, while others never read, reset, or are cut off for it;
 * nobody waits for those; each limit has its answer; that a client died is told to its room.
 * How: the program itself as another process, and all clients as sockets of this one.
 * Not proved: how fast it is.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CROWD_MAX	2000
#define CROWD_ROOM	50 /* members */
#define CROWD_LINES	4 /* of each */
#define CROWD_FDS_SPARE 64

#define DEAF_LINES 3600 /* more than the kernel and the high mark take, less than the cap */

extern char **environ;

struct server {
	pid_t pid;
	int out;
	char url[RL_URL_MAX];
};

/* One end of a conversation. */
struct talker {
	int fd;
	size_t len;
	char text[4096]; /* received, and not taken; then zero-terminated */
};

enum manner {
	MANNER_HEALTHY,
	MANNER_DEAF, /* never reads */
	MANNER_BREAKS, /* resets after half of its lines */
};

struct guest {
	struct talker talker;
	enum manner manner;
	bool joined;
	uint32_t missing; /* lines that are still to come */
	uint32_t next[CROWD_ROOM]; /* of each member of the room */
};

static struct server server;
static struct guest crowd[CROWD_MAX];
static uint32_t crowd_count;

/* What it writes to stdout up to the first newline. */
static void
server_read_ready(char *line, size_t size)
{
	struct pollfd fd = { .fd = server.out, .events = POLLIN };
	size_t len = 0;

	while (len + 1 < size) {
		assert_int_equal(poll(&fd, 1, RIG_PATIENCE_MS), 1);
		assert_int_equal(read(server.out, line + len, 1), 1);
		if (line[len] == '\n') {
			break;
		}
		len++;
	}
	line[len] = '\0';
}

static void
server_start(const char *bytes, const char *url)
{
	const char *dir = getenv("RL_EXAMPLES_DIR");
	char path[4096];
	char shards[16];
	char line[256];
	const char *argv[] = { path,
			       "--listen",
			       "tcp://127.0.0.1:0",
			       "--shards",
			       shards,
			       "--slow-seconds",
			       "0.3",
			       "--slow-bytes",
			       bytes,
			       "--stats",
			       url != NULL ? "--listen" : NULL,
			       url,
			       NULL };
	posix_spawn_file_actions_t actions;
	int out[2];

	(void)snprintf(path, sizeof(path), "%s/chat_server", dir != NULL ? dir : "examples");
	(void)snprintf(shards, sizeof(shards), "%u", rig_shards());
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO), 0);
	assert_int_equal(
		posix_spawn(&server.pid, path, &actions, NULL, (char *const *)argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(out[1]);
	server.out = out[0];
	server_read_ready(line, sizeof(line));
	assert_int_equal(strncmp(line, "ready ", 6), 0);
	(void)snprintf(server.url, sizeof(server.url), "%.*s", (int)strcspn(line + 6, " "),
		       line + 6);
}

/* Its end by SIGTERM is a clean one, and comes before the drain's deadline would. */
static void
server_end(void)
{
	struct pollfd fd = { .fd = server.out, .events = POLLIN };
	int status;

	assert_int_equal(kill(server.pid, SIGTERM), 0);
	assert_int_equal(poll(&fd, 1, RIG_PATIENCE_MS), 1); /* its stdout is closed */
	assert_int_equal(waitpid(server.pid, &status, 0), server.pid);
	server.pid = 0;
	(void)close(server.out);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* After a test that failed. */
static int
server_teardown(void **state)
{
	(void)state;
	if (server.pid != 0) {
		(void)kill(server.pid, SIGKILL);
		(void)waitpid(server.pid, NULL, 0);
		(void)close(server.out);
		server.pid = 0;
	}
	return 0;
}

/* What there is, without waiting. False: the other end closed or reset. */
static bool
talker_fill(struct talker *talker)
{
	ssize_t got = recv(talker->fd, talker->text + talker->len,
			   sizeof(talker->text) - 1 - talker->len, 0);

	if (got < 0 && errno == EAGAIN) {
		return true;
	}
	if (got <= 0) {
		return false;
	}
	talker->len += (size_t)got;
	talker->text[talker->len] = '\0';
	return true;
}

/* The next whole line goes to @line; false: there is none yet. */
static bool
talker_take(struct talker *talker, char *line, size_t size)
{
	char *newline = memchr(talker->text, '\n', talker->len);
	size_t len;

	if (newline == NULL) {
		assert_true(talker->len < sizeof(talker->text) - 1);
		return false;
	}
	len = (size_t)(newline - talker->text);
	assert_true(len < size);
	memcpy(line, talker->text, len);
	line[len] = '\0';
	talker->len -= len + 1;
	memmove(talker->text, newline + 1, talker->len);
	return true;
}

/* Reads on until a line has @says in it. */
static void
talker_await(struct talker *talker, const char *says)
{
	struct pollfd fd = { .fd = talker->fd, .events = POLLIN };
	char line[512] = "";

	for (;;) {
		while (talker_take(talker, line, sizeof(line))) {
			if (strstr(line, says) != NULL) {
				return;
			}
		}
		if (poll(&fd, 1, RIG_PATIENCE_MS) != 1 || !talker_fill(talker)) {
			print_error("no \"%s\"; the last line was \"%s\"\n", says, line);
			fail();
		}
	}
}

static void
talker_join(struct talker *talker, const char *nick, const char *room)
{
	char text[128];

	*talker = (struct talker){ .fd = client_dial(server.url) };
	(void)snprintf(text, sizeof(text), "/nick %s\n/join %s\n", nick, room);
	client_send_text(talker->fd, text);
	talker_await(talker, "you are in");
}

static void
talker_say(struct talker *talker, const char *text, const char *answer)
{
	client_send_text(talker->fd, text);
	talker_await(talker, answer);
}

/* Whole rooms. */
static uint32_t
crowd_size(void)
{
	const char *text = getenv("RL_TEST_CLIENTS");
	uint32_t count = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : CROWD_MAX;

	count = count < CROWD_MAX ? count : CROWD_MAX;
	return count - count % CROWD_ROOM;
}

/* Descriptors for all of them, here and in the server, which inherits the limit. */
static bool
crowd_is_allowed(void)
{
	return rig_fds_are_allowed(crowd_size(), crowd_size() + CROWD_FDS_SPARE);
}

/* A line of the guest's: of any length, so that it takes from one message to all that it can. */
static void
guest_line(uint32_t number, uint32_t which, char *line, size_t size)
{
	uint64_t state = number * CROWD_LINES + which;
	size_t len = client_random(&state) % 8 == 0 ? 150 : 1 + client_random(&state) % 20;

	(void)snprintf(line, size, "%u %u ", number, which);
	assert_true(strlen(line) + len < size);
	memset(line + strlen(line) + len, '\0', 1);
	memset(line + strlen(line), 'a' + (int)(which % 26), len);
}

static void
guest_speak(uint32_t number, uint32_t count)
{
	char line[256];

	for (uint32_t i = 0; i < count; i++) {
		guest_line(number, i, line, sizeof(line) - 1);
		client_send_text(crowd[number].talker.fd, line);
		client_send_text(crowd[number].talker.fd, "\n");
	}
}

/* "g<sender>: <sender> <which> ...", the next one of that sender, or something of the server's. */
static void
guest_hear(uint32_t number, const char *line)
{
	struct guest *guest = &crowd[number];
	char expected[300];
	unsigned long sender;
	char *end;
	int len;

	if (line[0] == '*') {
		guest->joined = guest->joined || strstr(line, "you are in") != NULL;
		return;
	}
	assert_int_equal(line[0], 'g');
	sender = strtoul(line + 1, &end, 10);
	assert_true(sender / CROWD_ROOM == number / CROWD_ROOM);
	len = snprintf(expected, sizeof(expected), "g%lu: ", sender);
	guest_line((uint32_t)sender, guest->next[sender % CROWD_ROOM]++, expected + len,
		   sizeof(expected) - (size_t)len);
	assert_string_equal(line, expected);
	if (crowd[sender].manner != MANNER_BREAKS) {
		assert_true(guest->missing > 0);
		guest->missing--;
	}
}

static bool
guest_has_joined(const struct guest *guest)
{
	return guest->joined || guest->manner == MANNER_DEAF;
}

static bool
guest_has_all(const struct guest *guest)
{
	return guest->missing == 0 || guest->manner != MANNER_HEALTHY;
}

/* Read whatever comes for those who read, until all are @done. */
static void
crowd_listen(bool (*done)(const struct guest *guest))
{
	static struct pollfd fds[CROWD_MAX];
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	uint32_t waiting = crowd_count;
	char line[512];

	while (waiting > 0) {
		for (uint32_t i = 0; i < crowd_count; i++) {
			bool reads = crowd[i].manner != MANNER_DEAF && crowd[i].talker.fd >= 0;

			fds[i] = (struct pollfd){ reads ? crowd[i].talker.fd : -1, POLLIN, 0 };
		}
		assert_true(poll(fds, crowd_count, RIG_PATIENCE_MS) > 0);
		waiting = 0;
		for (uint32_t i = 0; i < crowd_count; i++) {
			if (fds[i].revents != 0) {
				assert_true(talker_fill(&crowd[i].talker));
				while (talker_take(&crowd[i].talker, line, sizeof(line))) {
					guest_hear(i, line);
				}
			}
			waiting += !done(&crowd[i]);
		}
		if (rig_now_ns() > end_ns) {
			print_error("%u of %u still wait\n", waiting, crowd_count);
			fail();
		}
	}
}

static void
crowd_arrive(void)
{
	static const struct guest nobody;
	char text[128];

	crowd_count = crowd_size();
	for (uint32_t i = 0; i < crowd_count; i++) {
		crowd[i] = nobody;
		crowd[i].manner = i % 20 == 7	 ? MANNER_DEAF
				  : i % 20 == 13 ? MANNER_BREAKS
						 : MANNER_HEALTHY;
		crowd[i].talker.fd = crowd[i].manner == MANNER_DEAF ? client_dial_narrow(server.url)
								    : client_dial(server.url);
		(void)snprintf(text, sizeof(text), "/nick g%u\n/join r%u\n", i, i / CROWD_ROOM);
		client_send_text(crowd[i].talker.fd, text);
	}
	for (uint32_t i = 0; i < crowd_count; i++) {
		for (uint32_t j = i - i % CROWD_ROOM; j < i - i % CROWD_ROOM + CROWD_ROOM; j++) {
			crowd[i].missing += crowd[j].manner != MANNER_BREAKS ? CROWD_LINES : 0;
		}
	}
}

static void
crowd_sees_every_line_in_order(void **state)
{
	uint32_t i;

	(void)state;
	server_start("262144", NULL);
	crowd_arrive();
	crowd_listen(guest_has_joined);
	for (i = 0; i < crowd_count; i++) {
		if (crowd[i].manner == MANNER_BREAKS) {
			guest_speak(i, CROWD_LINES / 2);
			client_reset(crowd[i].talker.fd);
			crowd[i].talker.fd = -1;
		} else {
			guest_speak(i, CROWD_LINES);
		}
	}
	crowd_listen(guest_has_all);
	for (i = 0; i < crowd_count; i++) {
		if (crowd[i].talker.fd >= 0) {
			client_reset(crowd[i].talker.fd);
		}
	}
	server_end();
}

/*
 * By the clock: its output stays below the cap, which would end it too. It has a Unix socket, since
 * the kernel takes a known amount for those, and megabytes for others.
 */
static void
deaf_client_is_cut_off_and_nobody_waits(void **state)
{
	struct talker speaker;
	struct talker listener;
	char url[RL_URL_MAX];
	char text[256];
	int deaf;
	uint32_t heard = 0;
	uint64_t end_ns = rig_now_ns() + RIG_PATIENCE_MS * 1000000ull;
	uint32_t said = 0;
	bool left = false;
	int rc;

	(void)state;
	(void)snprintf(url, sizeof(url), "%s", client_unix_name());
	server_start("16384", url);
	talker_join(&speaker, "speaker", "tea");
	talker_join(&listener, "listener", "tea");
	deaf = client_dial(url);
	client_send_text(deaf, "/nick deaf\n/join tea\n");
	talker_await(&listener, "* deaf joined");
	while (!left || heard < said) {
		if (said < DEAF_LINES && said - heard < 50) {
			(void)snprintf(text, sizeof(text), "%u %0150u\n", said++, 7u);
			client_send_text(speaker.fd, text);
		}
		assert_true(poll(&(struct pollfd){ listener.fd, POLLIN, 0 }, 1,
				 said < DEAF_LINES ? 0 : 100) >= 0);
		assert_true(talker_fill(&speaker) && talker_fill(&listener));
		while (talker_take(&speaker, text, sizeof(text))) {
		}
		while (talker_take(&listener, text, sizeof(text))) {
			left = left || strcmp(text, "* deaf left") == 0;
			if (strncmp(text, "speaker: ", 9) == 0) {
				assert_int_equal(strtoul(text + 9, NULL, 10), heard++);
			}
		}
		assert_true(rig_now_ns() < end_ns);
	}
	rc = client_read_end(deaf, NULL);
	assert_true(rc == 0 || rc == -ECONNRESET);
	client_close(deaf);
	client_close(speaker.fd);
	client_close(listener.fd);
	server_end();
}

static void
limits_are_answered_by_name(void **state)
{
	struct talker one;
	struct talker other;
	char text[400];

	(void)state;
	server_start("262144", NULL);
	talker_join(&one, "one", "tea");
	talker_join(&other, "other", "tea");
	talker_say(&one, "/nick other\n", "! that nick is taken");
	talker_say(&one, "/nick sixteen-letters-\n", "! a nick has 1 to 15");
	talker_say(&one, "/nick a b\n", "! a nick has");
	talker_say(&one, "/nick \n", "! a nick has");
	talker_say(&one, "/join a/b\n", "! a room's name has 1 to 23");
	talker_say(&one, "/fly\n", "! there are /nick");
	(void)snprintf(text, sizeof(text), "%0201u\n", 1u);
	talker_say(&one, text, "! a line has at most 200");
	(void)snprintf(text, sizeof(text), "%0399u", 1u);
	client_send_text(one.fd, text); /* one line in parts, and much too long */
	client_send_text(one.fd, text);
	client_send_text(one.fd, text);
	talker_say(&one, "\nstill here\n", "! a line has at most 200");
	talker_await(&other, "one: still here");
	(void)snprintf(text, sizeof(text), "%0200u\n", 1u);
	client_send_text(one.fd, text);
	text[200] = '\0';
	talker_await(&other, text);
	talker_say(&one, "\a\x1b[2J\r\n", "one: ??[2J");
	talker_say(&one, "/join coffee\n", "* you are in coffee");
	talker_await(&other, "* one left");
	talker_say(&other, "/who\n", "* other is here");
	talker_await(&other, "* that is all");
	client_send_text(other.fd, "/quit\n");
	client_expect_fin(other.fd);
	client_close(other.fd);
	client_close(one.fd);
	server_end();
}

static void
room_that_is_full_says_so(void **state)
{
	static struct talker talkers[201];
	char nick[16];

	(void)state;
	server_start("262144", NULL);
	for (uint32_t i = 0; i < 200; i++) {
		(void)snprintf(nick, sizeof(nick), "n%u", i);
		talker_join(&talkers[i], nick, "tea");
	}
	talkers[200] = (struct talker){ .fd = client_dial(server.url) };
	talker_say(&talkers[200], "hello\n", "! you are in no room");
	talker_say(&talkers[200], "/join tea\n", "! the room is full, it has 200 members");
	client_reset(talkers[7].fd);
	talker_await(&talkers[199], "* n7 left"); /* the room was told that it died */
	talker_say(&talkers[200], "/join tea\n", "* you are in tea");
	talker_say(&talkers[200], "/nick late\n", "is now late");
	for (uint32_t i = 0; i < 201; i++) {
		if (i != 7) {
			client_close(talkers[i].fd);
		}
	}
	server_end();
}

#define chat_case(name) cmocka_unit_test_teardown(name, server_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		chat_case(crowd_sees_every_line_in_order), /* the first: see below */
		chat_case(deaf_client_is_cut_off_and_nobody_waits),
		chat_case(limits_are_answered_by_name),
		chat_case(room_that_is_full_says_so),
	};
	bool whole = crowd_is_allowed();
	int rc = whole ? rig_run("chat", tests) : rig_main("chat", tests + 1, RIG_COUNT(tests) - 1);

	return rc == 0 && !whole ? RIG_SKIPPED : rc;
}
