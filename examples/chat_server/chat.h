/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * chat - what the actors of chat_server say to each other.
 *
 *	hall    one per shard; opens the rooms that are at home there, and knows them by name
 *	room    one actor, on the shard that its name hashes to; its members are anywhere
 *	client  one per connection (client.c); everything it wants of a room is a request
 *
 * A line is longer than a message, so it travels in numbered pieces, which arrive in order because
 * both ends are actors. Two windows bound what is under way, so that no mailbox can overflow:
 *
 *	client -> room   one line. Its last piece is a request, which the room answers when it has
 *	                 sent the line to all members; meanwhile the client's input is not read.
 *	room -> client   CHAT_WINDOW lines that the client has not reported as taken. It takes them
 *	                 whether or not its peer reads, so the room waits for a core, never for a
 *	                 network; what becomes of a peer that does not read is decided in client.c.
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
	CHAT_MEMBERS_MAX = 200, /* of a room: as many as fit into an actor's state */
	CHAT_ROOMS_MAX = 256, /* at home on one shard */
	CHAT_WINDOW = 16,
	CHAT_TEXT_MAX = CHAT_NICK_MAX + 2 + CHAT_LINE_MAX + 1, /* "nick: line\n" */
	CHAT_PIECE_MAX = 24,
	CHAT_MAILBOX_MAX = 4096, /* more than all pieces that may be under way to a room */
};

enum chat_kind {
	CHAT_OPEN = RL_MSG_USER, /* request to a hall, char[]: the room's name. Reply: its id */
	CHAT_JOIN, /* request to a room, char[]: the nick; -EEXIST, -ENOSPC */
	CHAT_RENAME, /* request to a room, char[]: the new nick; -EEXIST */
	CHAT_LEAVE, /* request to a room */
	CHAT_WHO, /* request to a room, uint32_t: from which one on. Reply: struct chat_who */
	CHAT_LINE, /* to a room, struct chat_piece; the last one is a request */
	CHAT_TEXT, /* to a client, struct chat_piece */
	CHAT_TAKEN, /* to a room, uint32_t: so many lines were taken */
};

struct chat_piece {
	uint16_t at; /* where in the line; 0 begins a new one */
	uint8_t len;
	bool last;
	char text[CHAT_PIECE_MAX];
};

struct chat_who {
	uint32_t next; /* to ask for next; 0: there are no more */
	char nick[CHAT_NICK_MAX + 1]; /* empty: nobody */
};

/* A line, whole or in the making. */
struct chat_text {
	uint16_t len;
	char text[CHAT_TEXT_MAX];
};

/* Both are static data: see rl_actor_spawn(). */
extern const struct rl_actor_def chat_hall;
extern const struct rl_actor_def chat_client;

/* By shard. Written before any listener opens, and never again. */
extern rl_actor_id chat_halls[256];

/* How long a client's output may be above the high mark; set before the start. */
extern uint64_t chat_slow_ns;

__attribute__((format(printf, 2, 3))) void chat_text_print(struct chat_text *text,
							   const char *format, ...);

/* The piece that begins at @at. */
struct chat_piece chat_text_piece(const struct chat_text *text, uint16_t at);

/* True: the line is whole. A piece that does not follow the ones before it is not taken. */
bool chat_text_add(struct chat_text *text, const struct chat_piece *piece);

#endif
