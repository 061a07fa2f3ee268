/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * chat - what the actors of chat_server say to each other.
 *
 *	hall    one per shard; opens the rooms that are at home there, and knows them by name
 *	room    one actor, on the shard that its name hashes to; its members are anywhere
 *	client  one per connection (client.c); everything it wants of a room is a request
 *
 * A line is a counted buffer: the client writes it once, and the room sends that one to all its
 * members, on any shard. Two windows bound what is under way:
 *
 *	client -> room   one line. A request follows it, which the room answers when it has sent the
 *	                 line to all members; meanwhile the client's input is not read.
 *	room -> client   CHAT_WINDOW lines that the client has not reported as taken. It takes them
 *	                 whether or not its peer reads, so the room waits for a core, never for a
 *	                 network; what becomes of a peer that does not read is decided in client.c.
 *
 * So a member's mailbox never overflows. A room's can, when thousands ask for it at once; then a
 * line is lost and its writer told, and what was taken is reported again a little later.
 */
#ifndef RINGLINE_EXAMPLES_CHAT_H
#define RINGLINE_EXAMPLES_CHAT_H

#include <stdbool.h>
#include <stdint.h>

#include <ringline/ringline.h>

enum {
	CHAT_NICK_MAX = 15,
	CHAT_ROOM_MAX = 23,
	CHAT_LINE_MAX = 200, /* what a client may send at once, without the newline */
	CHAT_MEMBERS_MAX = 200, /* of a room: a number fits into a byte */
	CHAT_ROOMS_MAX = 256, /* at home on one shard */
	CHAT_WINDOW = 16,
	CHAT_TEXT_MAX = CHAT_NICK_MAX + 2 + CHAT_LINE_MAX + 1, /* "nick: line\n" */
	CHAT_MAILBOX_MAX = 4096, /* more than a room's members have under way */
};

enum chat_kind {
	CHAT_OPEN = RL_MSG_USER, /* request to a hall, char[]: the room's name. Reply: its id */
	CHAT_JOIN, /* request to a room, char[]: the nick; -EEXIST, -ENOSPC */
	CHAT_RENAME, /* request to a room, char[]: the new nick; -EEXIST */
	CHAT_LEAVE, /* request to a room */
	CHAT_WHO, /* request to a room, uint32_t: from which one on. Reply: struct chat_who */
	CHAT_LINE, /* to a room, a buffer */
	CHAT_SAID, /* request to a room, struct chat_said: it is to go to all; -EPROTO: not here */
	CHAT_TEXT, /* to a client, a buffer */
	CHAT_TAKEN, /* to a room, uint32_t: how many lines were taken since it joined */
};

/* Which line: the address of its bytes, which is the same on all shards. */
struct chat_said {
	const void *text;
};

struct chat_who {
	uint32_t next; /* to ask for next; 0: there are no more */
	char nick[CHAT_NICK_MAX + 1]; /* empty: nobody */
};

/* Both are static data: see rl_actor_spawn(). */
extern const struct rl_actor_def chat_hall;
extern const struct rl_actor_def chat_client;

/* By shard. Written before any listener opens, and never again. */
extern rl_actor_id chat_halls[256];

/* How long a client's output may be above the high mark; set before the start. */
extern uint64_t chat_slow_ns;

/* One reference, the caller's; NULL: no memory. What could upset a terminal is replaced. */
__attribute__((format(printf, 2, 3))) struct rl_buf *chat_line(struct rl_shard *shard,
							       const char *format, ...);

#endif
