/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A client: the lines of one connection. It waits for one thing at a time (client.step); until that
 * has come its input is not read. Its output never makes anybody wait: a peer that does not read
 * is cut off when its output was above the high mark for chat_slow_ns, or reached the cap.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chat_server/chat.h"

#define CLIENT_TRIES_MAX 3 /* to join a room that ends meanwhile */
#define CLIENT_RETRY_NS	 RL_MS(1)

enum client_step {
	CLIENT_IDLE,
	CLIENT_LEAVING, /* the room it is in, for another one */
	CLIENT_OPENING,
	CLIENT_JOINING,
	CLIENT_RENAMING,
	CLIENT_SPEAKING,
	CLIENT_ASKING, /* who is there */
};

enum client_timer {
	CLIENT_TIMER_SLOW, /* its output was above the high mark for too long */
	CLIENT_TIMER_REPORT, /* the room had no place for a report */
};

struct client {
	enum client_step step;
	bool in_room; /* once it has joined; room is set before */
	bool slow; /* a timer runs until the output is below the low mark */
	bool skips; /* the rest of a line that is too long */
	rl_timer_id slow_timer;
	rl_actor_id room;
	uint32_t room_shard;
	uint32_t tries;
	uint32_t taken; /* lines of the room's */
	uint32_t reported; /* as many of them the room knows of */
	char nick[CHAT_NICK_MAX + 1];
	char wanted_nick[CHAT_NICK_MAX + 1];
	char wanted_room[CHAT_ROOM_MAX + 1];
	struct rl_buf *line; /* for which there was no room on its way; NULL: none */
};

rl_actor_id chat_halls[256];
uint64_t chat_slow_ns;

/* 0, or a negative errno of rl_conn_send(), which then ends the client. */
static int
client_write(struct rl_actor *self, const void *text, size_t len)
{
	struct client *client = rl_actor_state(self);
	int rc = rl_conn_send(self, text, len);

	if (rc == RL_CONN_SEND_HIGH && !client->slow) {
		client->slow = true;
		return rl_timer_start(self, chat_slow_ns, CLIENT_TIMER_SLOW, &client->slow_timer);
	}
	return rc == RL_CONN_SEND_HIGH ? 0 : rc;
}

__attribute__((format(printf, 2, 3))) static int
client_say(struct rl_actor *self, const char *format, ...)
{
	char line[256];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	len = len < (int)sizeof(line) - 2 ? len : (int)sizeof(line) - 2;
	line[len] = '\n';
	return client_write(self, line, (size_t)len + 1);
}

static int
client_idle(struct rl_actor *self)
{
	struct client *client = rl_actor_state(self);

	client->step = CLIENT_IDLE;
	return rl_conn_resume(self); /* the lines behind this one */
}

/* Ask the room, or a hall. The answer is client_answered() or client_refused(). */
static int
client_ask(struct rl_actor *self, enum client_step step, rl_actor_id to, uint32_t kind,
	   const void *data, size_t len)
{
	struct client *client = rl_actor_state(self);
	struct rl_request request = {
		.to = to,
		.kind = kind,
		.data = data,
		.len = (uint32_t)len,
		.timeout_ns = -1, /* they always answer */
	};

	client->step = step;
	return rl_actor_request(self, &request, NULL);
}

/* Rooms are at home where their name hashes to (FNV-1a). */
static int
client_open(struct rl_actor *self)
{
	struct client *client = rl_actor_state(self);
	uint32_t hash = 2166136261u;
	const char *at;

	for (at = client->wanted_room; *at != '\0'; at++) {
		hash = (hash ^ (uint8_t)*at) * 16777619u;
	}
	client->in_room = false;
	client->taken = 0;
	client->reported = 0;
	client->room_shard = hash % rl_shard_count(rl_actor_shard(self));
	return client_ask(self, CLIENT_OPENING, chat_halls[client->room_shard], CHAT_OPEN,
			  client->wanted_room, (size_t)(at - client->wanted_room) + 1);
}

static void
client_forget_line(struct client *client)
{
	rl_buf_release(client->line);
	client->line = NULL;
}

static int client_refused(struct rl_actor *self, int error);

/* The line, and the request that goes with it, which needs no room on its way. */
static int
client_speak(struct rl_actor *self)
{
	struct client *client = rl_actor_state(self);
	struct chat_said said = { client->line->data };
	int rc = rl_actor_send_buf(self, client->room, CHAT_LINE, client->line);

	client->step = CLIENT_SPEAKING;
	if (rc == -EAGAIN && client->room_shard != rl_shard_id(rl_actor_shard(self))) {
		return 0; /* RL_MSG_ROOM follows */
	}
	if (rc != 0) {
		client_forget_line(client);
		return client_refused(self, rc);
	}
	client->line = NULL; /* the room's */
	return client_ask(self, CLIENT_SPEAKING, client->room, CHAT_SAID, &said, sizeof(said));
}

/* Lets the room send more. */
static int
client_report_taken(struct rl_actor *self)
{
	struct client *client = rl_actor_state(self);
	int rc;

	if (client->taken - client->reported < CHAT_WINDOW / 2) {
		return 0;
	}
	rc = rl_actor_send(self, client->room, CHAT_TAKEN, &client->taken, sizeof(client->taken));
	if (rc == 0) {
		client->reported = client->taken;
		return 0;
	}
	if (rc == -EAGAIN && client->room_shard != rl_shard_id(rl_actor_shard(self))) {
		return 0; /* RL_MSG_ROOM follows */
	}
	return rc == -ENOENT ? 0 : rl_timer_start(self, CLIENT_RETRY_NS, CLIENT_TIMER_REPORT, NULL);
}

/* Of a line the room tells itself, in its answer. */
static int
client_undelivered(struct rl_actor *self, const struct rl_msg *msg)
{
	struct client *client = rl_actor_state(self);

	if (msg->undelivered.kind != CHAT_TAKEN || msg->undelivered.error != -EAGAIN ||
	    !rl_actor_id_eq(msg->undelivered.to, client->room)) {
		return 0;
	}
	client->reported = client->taken - CHAT_WINDOW / 2; /* or less, which nobody knows */
	return rl_timer_start(self, CLIENT_RETRY_NS, CLIENT_TIMER_REPORT, NULL);
}

static int
client_heard(struct rl_actor *self, const struct rl_msg *msg)
{
	struct client *client = rl_actor_state(self);
	const struct rl_buf *text = rl_msg_buf(msg);
	int rc;

	if (!rl_actor_id_eq(msg->from, client->room)) {
		return 0; /* of a room that it has left */
	}
	client->taken++;
	rc = client_report_taken(self);
	return rc != 0 ? rc : client_write(self, text->data, text->len);
}

static int
client_answered(struct rl_actor *self, const struct rl_msg *msg)
{
	struct client *client = rl_actor_state(self);
	const struct chat_who *who = msg->reply.data;
	int rc = 0;

	switch (client->step) {
	case CLIENT_LEAVING:
		client->room = (rl_actor_id){ 0 };
		return client_open(self);
	case CLIENT_OPENING:
		memcpy(&client->room, msg->reply.data, sizeof(client->room));
		return client_ask(self, CLIENT_JOINING, client->room, CHAT_JOIN, client->nick,
				  strlen(client->nick) + 1);
	case CLIENT_JOINING:
		client->in_room = true;
		rc = client_say(self, "* you are in %s", client->wanted_room);
		break;
	case CLIENT_RENAMING:
		memcpy(client->nick, client->wanted_nick, sizeof(client->nick));
		break;
	case CLIENT_ASKING:
		if (who->nick[0] != '\0') {
			rc = client_say(self, "* %s is here", who->nick);
			return rc != 0 ? rc
				       : client_ask(self, CLIENT_ASKING, client->room, CHAT_WHO,
						    &who->next, sizeof(who->next));
		}
		rc = client_say(self, "* that is all");
		break;
	case CLIENT_SPEAKING:
	case CLIENT_IDLE:
		break;
	}
	return rc != 0 ? rc : client_idle(self);
}

static int
client_refused(struct rl_actor *self, int error)
{
	struct client *client = rl_actor_state(self);
	enum client_step step = client->step;
	bool ended = error == -ENOENT;
	int rc;

	if (ended && step == CLIENT_JOINING && client->tries++ < CLIENT_TRIES_MAX) {
		return client_open(self); /* the room had just ended */
	}
	if (ended && step == CLIENT_LEAVING) {
		return client_open(self);
	}
	if (ended || step == CLIENT_JOINING || step == CLIENT_OPENING) {
		client->room = (rl_actor_id){ 0 };
		client->in_room = false;
	}
	if (error == -EEXIST) {
		rc = client_say(self, "! that nick is taken in the room, try /nick NAME");
	} else if (error == -ENOSPC && step == CLIENT_JOINING) {
		rc = client_say(self, "! the room is full, it has %d members", CHAT_MEMBERS_MAX);
	} else if (error == -ENOSPC) {
		rc = client_say(self, "! there are too many rooms, %d on a core", CHAT_ROOMS_MAX);
	} else if (step == CLIENT_SPEAKING && (error == -EAGAIN || error == -EPROTO)) {
		rc = client_say(self, "! the room is busy, a line was lost");
	} else {
		rc = client_say(self, "! that did not work: %s", strerror(-error));
	}
	return rc != 0 ? rc : client_idle(self);
}

/* Letters, digits, - and _, so that it shows as what it is; NUL-terminated then. */
static bool
client_name(char *name, size_t size, const char *text, size_t len)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_";

	if (len == 0 || len >= size) {
		return false;
	}
	memcpy(name, text, len);
	name[len] = '\0';
	return strspn(name, allowed) == len;
}

static int
client_nick(struct rl_actor *self, const char *name, size_t len)
{
	struct client *client = rl_actor_state(self);
	char *wanted = client->wanted_nick;

	if (!client_name(wanted, sizeof(client->wanted_nick), name, len)) {
		return client_say(self, "! a nick has 1 to %d letters, digits, - and _",
				  CHAT_NICK_MAX);
	}
	if (!client->in_room) {
		memcpy(client->nick, wanted, sizeof(client->nick));
		return client_say(self, "* you are %s", client->nick);
	}
	return client_ask(self, CLIENT_RENAMING, client->room, CHAT_RENAME, wanted, len + 1);
}

static int
client_join(struct rl_actor *self, const char *name, size_t len)
{
	struct client *client = rl_actor_state(self);

	if (!client_name(client->wanted_room, sizeof(client->wanted_room), name, len)) {
		return client_say(self, "! a room's name has 1 to %d letters, digits, - and _",
				  CHAT_ROOM_MAX);
	}
	client->tries = 0;
	if (!client->in_room) {
		return client_open(self);
	}
	return client_ask(self, CLIENT_LEAVING, client->room, CHAT_LEAVE, NULL, 0);
}

/* The rest of the line behind @command, or NULL. */
static const char *
client_command(const char *line, size_t *len, const char *command)
{
	size_t skip = strlen(command);

	if (*len < skip || memcmp(line, command, skip) != 0) {
		return NULL;
	}
	*len -= skip;
	return line + skip;
}

static int
client_line(struct rl_actor *self, const char *line, size_t len)
{
	struct client *client = rl_actor_state(self);
	const char *name;
	uint32_t first = 0;

	if ((name = client_command(line, &len, "/nick ")) != NULL) {
		return client_nick(self, name, len);
	}
	if ((name = client_command(line, &len, "/join ")) != NULL) {
		return client_join(self, name, len);
	}
	if (len == 5 && memcmp(line, "/quit", 5) == 0) {
		return RL_ACTOR_STOP;
	}
	if (line[0] == '/' && !(len == 4 && memcmp(line, "/who", 4) == 0)) {
		return client_say(self, "! there are /nick NAME, /join ROOM, /who and /quit");
	}
	if (!client->in_room) {
		return client_say(self, "! you are in no room, try /join ROOM");
	}
	if (line[0] == '/') {
		return client_ask(self, CLIENT_ASKING, client->room, CHAT_WHO, &first,
				  sizeof(first));
	}
	client->line = chat_line(rl_actor_shard(self), "%s: %.*s\n", client->nick, (int)len, line);
	if (client->line == NULL) {
		return client_say(self, "! there is no memory for a line, it was lost");
	}
	return client_speak(self);
}

/* Whole lines, one after the other, until one has to wait. */
static int
client_recv(struct rl_actor *self, const struct rl_msg *msg)
{
	struct client *client = rl_actor_state(self);
	const char *at = (const char *)msg->recv.data;
	const char *end = at + msg->recv.len;
	int rc = 0;

	while (rc == 0 && client->step == CLIENT_IDLE) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline != NULL ? newline : end) - at);

		if (len > CHAT_LINE_MAX + 1 && !client->skips) {
			client->skips = true;
			rc = client_say(self, "! a line has at most %d bytes", CHAT_LINE_MAX);
		}
		if (newline == NULL) {
			at = client->skips ? end : at;
			break;
		}
		if (len > 0 && at[len - 1] == '\r') {
			len--;
		}
		if (client->skips) {
			client->skips = false;
		} else if (len > CHAT_LINE_MAX) {
			rc = client_say(self, "! a line has at most %d bytes", CHAT_LINE_MAX);
		} else if (len > 0) {
			rc = client_line(self, at, len);
		}
		at = newline + 1;
	}
	rl_conn_consumed(self, (size_t)(at - (const char *)msg->recv.data));
	return rc == 0 && client->step != CLIENT_IDLE ? -EAGAIN : rc;
}

static int
client_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct client *client = rl_actor_state(self);
	int rc;

	switch (msg->kind) {
	case RL_MSG_OPEN:
		(void)snprintf(client->nick, sizeof(client->nick), "guest-%08x",
			       (unsigned int)(rl_actor_self(self).private_bits * 2654435761u));
		return client_say(self, "* you are %s; /nick NAME, /join ROOM, /who, /quit",
				  client->nick);
	case RL_MSG_RECV:
		return client_recv(self, msg);
	case RL_MSG_WRITABLE:
		client->slow = false;
		(void)rl_timer_cancel(self, client->slow_timer); /* -ENOENT: nothing to cancel */
		return 0;
	case RL_MSG_TIMER:
		return msg->timer.tag == CLIENT_TIMER_SLOW ? rl_conn_abort(self) /* see the head */
							   : client_report_taken(self);
	case RL_MSG_ROOM:
		rc = client_report_taken(self);
		return rc == 0 && client->line != NULL ? client_speak(self) : rc;
	case RL_MSG_UNDELIVERED:
		return client_undelivered(self, msg);
	case RL_MSG_REPLY:
		return client_answered(self, msg);
	case RL_MSG_REPLY_FAILED:
		return client_refused(self, msg->reply_failed.error);
	case CHAT_TEXT:
		return client_heard(self, msg);
	case RL_MSG_STOP:
		client_forget_line(client);
		return 0;
	case RL_MSG_SHUTDOWN:
		(void)client_say(self, "* the server is shutting down"); /* it ends anyway */
		return RL_ACTOR_STOP;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

const struct rl_actor_def chat_client = {
	.name = "client",
	.receive = client_receive,
	.state_size = sizeof(struct client),
	.reports = true, /* of a report that was lost, so that no room waits for it for ever */
};
