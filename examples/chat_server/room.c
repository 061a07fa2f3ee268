/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Halls and rooms. A room sends one line at a time to all its members, in the order in which the
 * lines became whole; each member has at most one waiting. It stops where the way to a shard is
 * full (RL_MSG_ROOM follows) or a window is (CHAT_TAKEN follows), and goes on there later.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chat_server/chat.h"

#define ROOM_IDLE_NS RL_SEC(5) /* a room without members ends after that */

struct member {
	rl_monitor_id monitor;
	rl_request_id request; /* answered when its line was sent to all */
	uint32_t shard;
	uint32_t sent; /* lines, to it */
	uint32_t taken; /* so many of them, as it said */
	bool used;
	bool left; /* used until the others know */
	bool parted; /* they are being told */
	bool waits; /* its line is in the queue */
	char nick[CHAT_NICK_MAX + 1];
	struct rl_buf *text; /* its line; NULL: none */
};

struct room {
	uint32_t count; /* members that have not left */
	uint32_t queue_first;
	uint32_t queue_count;
	uint32_t to; /* the first line of the queue was sent to all members before this one */
	int rc; /* the first thing that failed: then the room ends with it */
	rl_actor_id ids[CHAT_MEMBERS_MAX]; /* "no id": not used, or left */
	uint8_t queue[CHAT_MEMBERS_MAX];
	struct member members[CHAT_MEMBERS_MAX];
};

_Static_assert(sizeof(struct room) <= RL_ACTOR_STATE_MAX, "a room fits into an actor's state");
_Static_assert(CHAT_MEMBERS_MAX <= UINT8_MAX, "a member's number fits into the queue");

static uint32_t
room_find(const struct room *room, rl_actor_id id)
{
	uint32_t i = 0;

	while (i < CHAT_MEMBERS_MAX && !rl_actor_id_eq(room->ids[i], id)) {
		i++;
	}
	return i;
}

static bool
room_has_nick(const struct room *room, const char *nick)
{
	for (uint32_t i = 0; i < CHAT_MEMBERS_MAX; i++) {
		if (!rl_actor_id_is_none(room->ids[i]) &&
		    strcmp(room->members[i].nick, nick) == 0) {
			return true;
		}
	}
	return false;
}

static void
room_check(struct room *room, int rc)
{
	room->rc = room->rc != 0 ? room->rc : rc;
}

/* Takes @text. */
static void
room_set_text(struct member *member, struct rl_buf *text)
{
	rl_buf_release(member->text);
	member->text = text;
}

/* The member's text is to go to all, when its turn has come. */
static void
room_enqueue(struct room *room, uint32_t number)
{
	uint32_t at = (room->queue_first + room->queue_count++) % CHAT_MEMBERS_MAX;

	room->queue[at] = (uint8_t)number;
	room->members[number].waits = true;
}

static void
room_say_parted(struct rl_actor *self, uint32_t number)
{
	struct room *room = rl_actor_state(self);
	struct member *member = &room->members[number];

	member->parted = true;
	room_set_text(member, chat_line(rl_actor_shard(self), "* %s left\n", member->nick));
	if (member->text == NULL) {
		room_check(room, -ENOBUFS); /* nobody is to be taken for present who is not */
		return;
	}
	room_enqueue(room, number);
}

/* A line of its that waits goes first; then the others are told. */
static void
room_leave(struct rl_actor *self, uint32_t number)
{
	struct room *room = rl_actor_state(self);
	struct member *member = &room->members[number];

	room->ids[number] = (rl_actor_id){ 0 };
	member->left = true;
	if (!member->waits) {
		room_say_parted(self, number);
	}
	if (--room->count == 0) {
		room_check(room, rl_timer_start(self, ROOM_IDLE_NS, 0, NULL));
	}
}

/*
 * It has reported all but a window of what it was sent, or more: lines from before it left and came
 * back count as well.
 */
static bool
member_takes(const struct member *member)
{
	return (int32_t)(member->sent - member->taken) < CHAT_WINDOW;
}

/* Neighbours from @first on that a line can be sent to. */
static uint32_t
room_run(const struct room *room, uint32_t first)
{
	uint32_t end = first;

	while (end < CHAT_MEMBERS_MAX && !rl_actor_id_is_none(room->ids[end]) &&
	       member_takes(&room->members[end])) {
		end++;
	}
	return end - first;
}

/* The next one did not take it. False: it will, and there will be a notice to go on. */
static bool
room_pass_over(struct rl_actor *self, int rc)
{
	struct room *room = rl_actor_state(self);

	if (rc == -EAGAIN && room->members[room->to].shard != rl_shard_id(rl_actor_shard(self))) {
		return false;
	}
	if (rc == -EAGAIN || rc == -ENOBUFS) { /* it can't keep up: RL_MSG_DOWN follows */
		room_check(room, rl_actor_stop(self, room->ids[room->to]));
	}
	room->to++; /* else it has ended, RL_MSG_DOWN follows; or all do */
	return true;
}

/* A line to all. False: it has not gone to all, and there will be a notice to go on. */
static bool
room_send(struct rl_actor *self, struct rl_buf *text)
{
	struct room *room = rl_actor_state(self);

	while (room->to < CHAT_MEMBERS_MAX) {
		uint32_t run = room_run(room, room->to);
		size_t taken;
		int rc;

		if (run == 0 && !rl_actor_id_is_none(room->ids[room->to])) {
			return false; /* its window is full */
		}
		if (run == 0) {
			room->to++;
			continue;
		}
		rc = rl_actor_broadcast(self, room->ids + room->to, run, CHAT_TEXT, text, &taken);
		for (; taken > 0; taken--) {
			room->members[room->to++].sent++;
		}
		if (rc != 0 && !room_pass_over(self, rc)) {
			return false;
		}
	}
	return true;
}

static void
room_sent_to_all(struct rl_actor *self, uint32_t number)
{
	struct room *room = rl_actor_state(self);
	struct member *member = &room->members[number];

	member->waits = false;
	room_set_text(member, NULL);
	if (!rl_request_id_is_none(member->request)) {
		(void)rl_actor_reply(self, member->request, NULL, 0); /* gone: nobody waits */
		member->request = (rl_request_id){ 0 };
	}
	if (member->left && !member->parted) {
		room_say_parted(self, number);
	} else if (member->left) {
		memset(member, 0, sizeof(*member));
	}
}

/* As far as it goes. */
static void
room_work(struct rl_actor *self)
{
	struct room *room = rl_actor_state(self);

	while (room->queue_count > 0) {
		uint32_t number = room->queue[room->queue_first];

		if (!room_send(self, room->members[number].text)) {
			return;
		}
		room->to = 0;
		room->queue_first = (room->queue_first + 1) % CHAT_MEMBERS_MAX;
		room->queue_count--;
		room_sent_to_all(self, number);
	}
}

static int
room_join(struct rl_actor *self, const struct rl_msg *msg)
{
	struct room *room = rl_actor_state(self);
	struct member *member;
	struct rl_buf *text;
	uint32_t number = 0;
	int rc;

	while (number < CHAT_MEMBERS_MAX && room->members[number].used) {
		number++;
	}
	if (number == CHAT_MEMBERS_MAX) {
		return rl_actor_reply_failed(self, msg->user.request, -ENOSPC);
	}
	if (room_has_nick(room, (const char *)msg->user.data)) {
		return rl_actor_reply_failed(self, msg->user.request, -EEXIST);
	}
	member = &room->members[number];
	text = chat_line(rl_actor_shard(self), "* %s joined\n", (const char *)msg->user.data);
	rc = text != NULL ? rl_actor_monitor(self, msg->from, &member->monitor) : -ENOBUFS;
	if (rc != 0) {
		rl_buf_release(text);
		return rl_actor_reply_failed(self, msg->user.request, rc);
	}
	member->used = true;
	member->shard = msg->user.shard;
	member->request = msg->user.request;
	memcpy(member->nick, msg->user.data, msg->len);
	room_set_text(member, text);
	room->ids[number] = msg->from;
	room->count++;
	room_enqueue(room, number);
	return 0;
}

static int
room_rename(struct rl_actor *self, const struct rl_msg *msg, struct member *member, uint32_t number)
{
	struct room *room = rl_actor_state(self);
	const char *nick = (const char *)msg->user.data;
	struct rl_buf *text;

	if (room_has_nick(room, nick)) {
		return rl_actor_reply_failed(self, msg->user.request, -EEXIST);
	}
	text = chat_line(rl_actor_shard(self), "* %s is now %s\n", member->nick, nick);
	if (text == NULL) {
		return rl_actor_reply_failed(self, msg->user.request, -ENOBUFS);
	}
	room_set_text(member, text);
	memcpy(member->nick, nick, msg->len);
	member->request = msg->user.request;
	room_enqueue(room, number);
	return 0;
}

static int
room_who(struct rl_actor *self, const struct rl_msg *msg)
{
	struct room *room = rl_actor_state(self);
	struct chat_who who = { 0 };
	uint32_t number = *RL_MSG_AS(msg, uint32_t);

	while (number < CHAT_MEMBERS_MAX && rl_actor_id_is_none(room->ids[number])) {
		number++;
	}
	if (number < CHAT_MEMBERS_MAX) {
		who.next = number + 1;
		memcpy(who.nick, room->members[number].nick, sizeof(who.nick));
	}
	return rl_actor_reply(self, msg->user.request, &who, sizeof(who));
}

/* What members send. */
static int
room_asked(struct rl_actor *self, const struct rl_msg *msg)
{
	struct room *room = rl_actor_state(self);
	uint32_t number = room_find(room, msg->from);
	struct member *member = &room->members[number];

	if (number == CHAT_MEMBERS_MAX) {
		if (!rl_request_id_is_none(msg->user.request)) {
			(void)rl_actor_reply_failed(self, msg->user.request, -ENOENT); /* owed */
		}
		return 0; /* it has left: nothing of it counts any more */
	}
	switch (msg->kind) {
	case CHAT_RENAME:
		return room_rename(self, msg, member, number);
	case CHAT_LEAVE:
		(void)rl_actor_demonitor(self, member->monitor); /* -ENOENT: it is over already */
		(void)rl_actor_reply(self, msg->user.request, NULL, 0); /* owed, and no payload */
		room_leave(self, number);
		return 0;
	case CHAT_WHO:
		return room_who(self, msg);
	case CHAT_LINE:
		if (!member->waits) {
			room_set_text(member, rl_buf_ref(rl_msg_buf(msg)));
		}
		return 0;
	case CHAT_SAID:
		if (member->waits || member->text == NULL ||
		    member->text->data != RL_MSG_AS(msg, struct chat_said)->text) {
			return rl_actor_reply_failed(self, msg->user.request, -EPROTO);
		}
		member->request = msg->user.request;
		room_enqueue(room, number);
		return 0;
	case CHAT_TAKEN:
		member->taken = *RL_MSG_AS(msg, uint32_t);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static void
room_forget_lines(struct room *room)
{
	for (uint32_t i = 0; i < CHAT_MEMBERS_MAX; i++) {
		room_set_text(&room->members[i], NULL);
	}
}

static int
room_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct room *room = rl_actor_state(self);
	uint32_t number;
	int rc = 0;

	switch (msg->kind) {
	case RL_MSG_START:
		return rl_timer_start(self, ROOM_IDLE_NS, 0, NULL);
	case RL_MSG_STOP:
		room_forget_lines(room);
		return 0;
	case RL_MSG_TIMER:
		return room->count == 0 && room->queue_count == 0 ? RL_ACTOR_STOP : 0;
	case RL_MSG_DOWN:
		number = room_find(room, msg->down.actor);
		if (number < CHAT_MEMBERS_MAX) {
			room_leave(self, number);
		}
		break;
	case RL_MSG_ROOM:
		break;
	case RL_MSG_UNDELIVERED: /* a line is missing: the member can't keep up */
		room_check(room, rl_actor_stop(self, msg->undelivered.to));
		break;
	case CHAT_JOIN:
		rc = room_join(self, msg);
		break;
	default:
		rc = msg->kind >= RL_MSG_USER ? room_asked(self, msg) : RL_ACTOR_UNHANDLED;
		break;
	}
	room_work(self);
	return rc != 0 ? rc : room->rc;
}

static const struct rl_actor_def chat_room = {
	.name = "room",
	.receive = room_receive,
	.state_size = sizeof(struct room),
	.reports = true,
};

struct hall {
	rl_actor_id ids[CHAT_ROOMS_MAX];
	char names[CHAT_ROOMS_MAX][CHAT_ROOM_MAX + 1]; /* empty: free */
};

/* The room of that name, or else a free entry, or CHAT_ROOMS_MAX. */
static uint32_t
hall_find(const struct hall *hall, const char *name)
{
	uint32_t found = CHAT_ROOMS_MAX;

	for (uint32_t i = 0; i < CHAT_ROOMS_MAX; i++) {
		if (strcmp(hall->names[i], name) == 0) {
			return i;
		}
		if (found == CHAT_ROOMS_MAX && hall->names[i][0] == '\0') {
			found = i;
		}
	}
	return found;
}

static int
hall_open(struct rl_actor *self, const struct rl_msg *msg)
{
	struct hall *hall = rl_actor_state(self);
	uint32_t i = hall_find(hall, (const char *)msg->user.data);
	int rc = -ENOSPC;

	if (i < CHAT_ROOMS_MAX && hall->names[i][0] == '\0') {
		rc = rl_actor_spawn(self, &chat_room, NULL, &hall->ids[i]);
		if (rc == 0) {
			memcpy(hall->names[i], msg->user.data, msg->len);
			rc = rl_actor_monitor(self, hall->ids[i], NULL);
		}
		if (rc != 0) { /* a room that was opened all the same ends when it is idle */
			hall->names[i][0] = '\0';
		}
	} else if (i < CHAT_ROOMS_MAX) {
		rc = 0;
	}
	if (rc != 0) {
		return rl_actor_reply_failed(self, msg->user.request, rc);
	}
	return rl_actor_reply(self, msg->user.request, &hall->ids[i], sizeof(hall->ids[i]));
}

static int
hall_receive(struct rl_actor *self, const struct rl_msg *msg)
{
	struct hall *hall = rl_actor_state(self);

	switch (msg->kind) {
	case CHAT_OPEN:
		return hall_open(self, msg);
	case RL_MSG_DOWN:
		for (uint32_t i = 0; i < CHAT_ROOMS_MAX; i++) {
			if (rl_actor_id_eq(hall->ids[i], msg->down.actor)) {
				hall->ids[i] = (rl_actor_id){ 0 };
				hall->names[i][0] = '\0';
			}
		}
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

const struct rl_actor_def chat_hall = {
	.name = "hall",
	.receive = hall_receive,
	.state_size = sizeof(struct hall),
};
