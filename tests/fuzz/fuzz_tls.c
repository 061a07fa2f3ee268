/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a peer does to a connection under TLS, as server and as client: the input is a program for a
 * peer with an OpenSSL of its own, for the network between, and for the actor, in a simulated
 * world. Raw bytes at any time, records whose bits are flipped, any pieces, any end.
 *
 * It must hold that bytes are the other end's, in order, that RL_MSG_EOF comes only after
 * close_notify, and that nothing is left in the end.
 */
#include <errno.h>
#include <string.h>

#include "sim_harness.h"
#include "sim_scene.h"
#include "sim_tls_hand.h"

#include "fuzz.h"

#define PORT 9443

enum deed {
	OP_WRITE,
	OP_GIVE,
	OP_TAKE,
	OP_SETTLE,
	OP_FLIP,
	OP_RAW,
	OP_KEYS,
	OP_NOTIFY,
	OP_FIN,
	OP_RESET,
	OP_TIME,
	OP_DEAF,
	OP_ACTOR_PAUSE, /* or goes on */
	OP_ACTOR_SEND,
	OP_ACTOR_SHUTS,
	OP_ACTOR_CLOSES,
	OPS
};

static struct scene scene;
static struct scene opener;
static struct hand hand;
static struct sk_sock *server;
static uint64_t written; /* by the peer */
static uint64_t spoken; /* by the actor */
static bool spoilt;

static uint8_t
byte_at(uint64_t offset, uint64_t key)
{
	return (uint8_t)sim_mix(offset + key);
}

/* Of what came only what has not been looked at yet. */
static int
actor_recv(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	size_t take = msg->recv.len > 3 ? msg->recv.len - msg->recv.len % 3 : msg->recv.len;

	for (size_t i = 0; i < msg->recv.len; i++) {
		sim_check(msg->recv.data[i] == byte_at(on->number + i, 1), "INV-1: a wrong byte");
	}
	sim_check(on->number + msg->recv.len <= written, "INV-1: bytes that nobody wrote");
	rl_conn_consumed(self, take);
	on->number += take;
	return 0;
}

static int
actor_told(struct rl_actor *self, const struct rl_msg *msg)
{
	uint8_t data[4096];
	uint8_t order[2] = { 0, 0 };
	size_t len;

	memcpy(order, msg->user.data, sizeof(order));
	switch (order[0]) {
	case OP_ACTOR_PAUSE:
		(void)(order[1] % 2 == 0 ? rl_conn_pause(self) : rl_conn_resume(self));
		break;
	case OP_ACTOR_SEND:
		len = order[1] * (size_t)16 + 1;
		for (size_t i = 0; i < len; i++) {
			data[i] = byte_at(spoken + i, 2);
		}
		if (rl_conn_send(self, data, len) >= 0) {
			spoken += len;
		}
		break;
	case OP_ACTOR_SHUTS:
		(void)rl_conn_shutdown_write(self);
		break;
	default:
		(void)rl_conn_close(self);
		break;
	}
	return 0;
}

static int
actor_on(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	switch (msg->kind) {
	case RL_MSG_RECV:
		return actor_recv(on, self, msg);
	case RL_MSG_USER:
		return actor_told(self, msg);
	case RL_MSG_EOF:
		sim_check(hand.tls.said, "INV-11: RL_MSG_EOF, and nobody said close_notify");
		return RL_ACTOR_STOP;
	case RL_MSG_STOP:
		sim_check(spoilt || msg->stop.reason != RL_REASON_TLS, "INV-11: tls (%d)",
			  msg->stop.error);
		return 0;
	default:
		return RL_ACTOR_UNHANDLED;
	}
}

static int
opener_on(struct scene *on, struct rl_actor *self, const struct rl_msg *msg)
{
	struct rl_conn_options options = { .tls = sim_tls_client() };

	(void)on;
	if (msg->kind == RL_MSG_START) {
		return rl_conn_open(self, "tls://127.0.0.1:9443", &scene_def, &scene, &options,
				    NULL);
	}
	return RL_ACTOR_UNHANDLED;
}

/* @manners: bit 0: the product is the client, 1: TLS 1.2, 2: certificates on both sides. */
static void
world_begin(uint8_t manners)
{
	struct rl_conn_options options = { 0 };

	sim_new(1, 7);
	sim_tls_setup();
	memset(&scene, 0, sizeof(scene));
	memset(&opener, 0, sizeof(opener));
	scene.on = actor_on;
	opener.on = opener_on;
	written = 0;
	spoken = 0;
	spoilt = false;
	server = scene_serve(PORT);
	options.tls = sim_tls_listener((manners & 4) != 0);
	if ((manners & 1) == 0) {
		scene_listen(&scene, "tls://127.0.0.1:0", &options);
		hand_init(&hand, scene_connect(&scene), SIM_TLS_CLIENT);
	} else {
		sim_check(rl_system_spawn(sim_system(), 0, &scene_def, &opener, NULL) == 0,
			  "no opener");
		sim_settle();
		hand_init(&hand, sk_accept(server), SIM_TLS_SERVER);
	}
	if ((manners & 2) != 0) {
		sim_tls_old(&hand.tls);
	}
}

static void
world_end(void)
{
	hand_fini(&hand);
	sim_advance_ns(RL_SEC(70)); /* the longest deadline */
	sk_file_put(&server->file);
	scene_end();
}

static void
peer_write(uint8_t arg)
{
	uint8_t data[4096];
	uint32_t len = arg * 16u + 1;
	int64_t took;

	for (uint32_t i = 0; i < len; i++) {
		data[i] = byte_at(written + i, 1);
	}
	took = hand.tls.said ? 0 : sim_tls_write(&hand.tls, data, len);
	written += took > 0 ? (uint64_t)took : 0;
}

/* Raw bytes of the input go over the wire; how many of them are used up. */
static size_t
peer_raw(const uint8_t *data, size_t size, uint8_t arg)
{
	size_t n = arg % 64u + 1;

	n = n < size ? n : size;
	spoilt = spoilt || n > 0;
	(void)sk_write(hand.sock, data, (uint32_t)n);
	return n;
}

static void
actor_tell(enum deed op, uint8_t arg)
{
	uint8_t order[2] = { (uint8_t)op, arg };
	int rc = rl_system_send(sim_system(), scene.id, RL_MSG_USER, order, sizeof(order));

	sim_check(rc == 0 || rc == -EAGAIN, "rl_system_send() answered %d", rc);
}

static void
peer_do(enum deed op, uint8_t arg)
{
	switch (op) {
	case OP_WRITE:
		peer_write(arg);
		break;
	case OP_GIVE:
		sim_tls_shake(&hand.tls);
		(void)sim_tls_out(&hand.tls, hand.sock, arg + 1u);
		spoilt = spoilt || hand.tls.spoilt;
		break;
	case OP_TAKE:
		(void)sim_tls_in(&hand.tls, hand.sock, arg + 1u);
		break;
	case OP_SETTLE:
		hand_settle(&hand);
		break;
	case OP_FLIP:
		hand.tls.flip_at = hand.tls.written + arg;
		spoilt = true;
		break;
	case OP_KEYS:
		if (hand.tls.shaken) {
			sim_tls_update(&hand.tls, arg % 2 == 0);
		}
		break;
	case OP_NOTIFY:
		if (hand.tls.shaken && !hand.tls.failed && !hand.tls.said) {
			sim_tls_end(&hand.tls);
		}
		break;
	case OP_FIN:
		(void)sk_shutdown(hand.sock, SHUT_WR);
		break;
	case OP_RESET:
		sk_reset(hand.sock);
		break;
	case OP_TIME:
		sim_advance_ns((uint64_t)RL_MS(arg) * arg);
		break;
	case OP_DEAF:
		hand.deaf = arg % 2 == 0;
		break;
	case OP_ACTOR_PAUSE:
	case OP_ACTOR_SEND:
	case OP_ACTOR_SHUTS:
	case OP_ACTOR_CLOSES:
		actor_tell(op, arg);
		break;
	case OP_RAW:
	case OPS:
		break;
	}
}

/* What the peer got is what the actor said. */
static void
check_peer(void)
{
	size_t n = hand.bytes < HAND_BYTES - 1 ? hand.bytes : HAND_BYTES - 1;

	sim_check(hand.bytes <= spoken, "INV-1: a peer got bytes that nobody sent");
	for (size_t i = 0; i < n; i++) {
		sim_check((uint8_t)hand.text[i] == byte_at(i, 2), "INV-1: a peer got a wrong byte");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 1;

	if (size < 2 || size > FUZZ_BYTES_MAX) {
		return 0;
	}
	world_begin(data[0]);
	while (at + 1 < size) {
		enum deed op = (enum deed)(data[at] % OPS);
		uint8_t arg = data[at + 1];

		at += 2;
		if (op == OP_RAW) {
			at += peer_raw(data + at, size - at, arg);
		}
		peer_do(op, arg);
		sim_settle();
		check_peer();
	}
	world_end();
	return 0;
}

/* Each byte pair is an operation (see enum deed) and its argument. */
const char *const fuzz_beginnings[] = {
	"000300"
	"00200300"
	"0d200300"
	"07000300"
	"08000300", /* a good server's life */
	"010300"
	"00200300"
	"0d200300"
	"07000300"
	"08000300", /* a good client's */
	"020300"
	"00ff00ff0300"
	"0dff0dff0300"
	"0c000010"
	"03000c01"
	"0300"
	"0f000300",
	"060300"
	"00010300"
	"0600"
	"00010300"
	"0700"
	"0300",
	"000300"
	"0e000600"
	"0010"
	"0300"
	"0600"
	"0700"
	"0300"
	"0800",
	"000300"
	"0403"
	"0010"
	"0300",
	"050a10"
	"0a80"
	"0a80",
	"00"
	"051f"
	"474554202f20485454502f312e310d0a486f73743a20780d0a0d0a4142434445"
	"0300",
	"00"
	"0100010001000100"
	"01ff01ff"
	"0300"
	"0900",
	"01"
	"0100"
	"02ff"
	"01ff"
	"02ff"
	"01ff"
	"0300"
	"0b00"
	"0dff0dff0dff"
	"0b01"
	"0300",
	NULL,
};
