/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Chunks come off one session and its records go to the other, in pieces of any size.
 */
#include "unit.h"

#include "tls_pair.h"

struct pair pair;
uint8_t plain[2][TLS_PLAIN_MAX];
struct tls_certs certs;
struct rl_tls_options server_options;
struct rl_tls_options client_options;

int
pair_setup(void **state)
{
	(void)state;
	tls_certs_make(&certs);
	server_options =
		(struct rl_tls_options)RL_TLS_OPTIONS(.cert_file = certs.file[CERTS_SERVER],
						      .key_file = certs.file[CERTS_SERVER_KEY]);
	client_options = (struct rl_tls_options)RL_TLS_OPTIONS(.ca_file = certs.file[CERTS_CA]);
	return 0;
}

int
pair_teardown(void **state)
{
	(void)state;
	tls_certs_remove(&certs);
	return 0;
}

void
pair_init_with(const struct rl_tls_options *server, const struct rl_tls_options *client,
	       const char *name)
{
	struct unit_log log;

	unit_log_init(&log);
	memset(&pair, 0, sizeof(pair));
	assert_int_equal(rli_chunk_pool_init(&pair.pool, 4u << 20), 0);
	assert_int_equal(
		rli_tls_context_create(&pair.contexts[SERVER], TLS_SERVER, server, &log.log), 0);
	assert_int_equal(
		rli_tls_context_create(&pair.contexts[CLIENT], TLS_CLIENT, client, &log.log), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			rli_tls_session_init(&pair.ends[i], pair.contexts[i], &pair.pool, name), 0);
	}
}

void
pair_init(void)
{
	pair_init_with(&server_options, &client_options, TLS_CERTS_NAME);
}

void
pair_again(const struct tls_context *server, const char *name)
{
	const struct tls_context *contexts[2] = { server, pair.contexts[CLIENT] };

	for (int i = 0; i < 2; i++) {
		(void)rli_tls_end(&pair.ends[i]); /* or its session is not resumable */
		rli_tls_session_fini(&pair.ends[i]);
		pair.wires[i] = (struct wire){ .start = 0 };
		assert_int_equal(rli_tls_session_init(&pair.ends[i], contexts[i], &pair.pool, name),
				 0);
	}
}

void
pair_fini(void)
{
	for (int i = 0; i < 2; i++) {
		rli_tls_session_fini(&pair.ends[i]);
		rli_tls_context_destroy(pair.contexts[i]);
	}
	assert_int_equal(pair.pool.chunks_taken, 0);
	rli_chunk_pool_fini(&pair.pool);
}

uint32_t
pair_send(int end)
{
	struct wire *wire = &pair.wires[end];
	uint32_t bytes = pair.ends[end].out_bytes;
	struct chunk *last;
	struct chunk *chunk = rli_tls_records_take(&pair.ends[end], &last);
	size_t before = wire->end;

	if (wire->start == wire->end) {
		wire->start = 0;
		wire->end = 0;
		before = 0;
	}
	while (chunk != NULL) {
		struct chunk *next = chunk->next;

		assert_true(chunk->end > 0);
		assert_true(next != NULL || chunk == last);
		assert_true(wire->end + chunk->end <= WIRE_MAX);
		memcpy(wire->data + wire->end, chunk->data, chunk->end);
		wire->end += chunk->end;
		rli_chunk_give(&pair.pool, chunk);
		chunk = next;
	}
	assert_int_equal(wire->end - before, bytes);
	return bytes;
}

void
pair_feed(int end, size_t bytes)
{
	struct wire *wire = &pair.wires[!end];
	size_t there = wire->end - wire->start;

	rli_tls_feed(&pair.ends[end], wire->data + wire->start, bytes < there ? bytes : there);
}

void
pair_fed(int end)
{
	struct wire *wire = &pair.wires[!end];

	if (pair.ends[end].in != NULL) {
		wire->start = (size_t)(pair.ends[end].in - wire->data);
	}
	rli_tls_feed(&pair.ends[end], NULL, 0);
}

enum tls_status
pair_step(int end, size_t bytes)
{
	enum tls_status status;

	pair_feed(end, bytes);
	status = rli_tls_handshake(&pair.ends[end]);
	pair_fed(end);
	(void)pair_send(end);
	return status;
}

enum tls_status
pair_read(int end, size_t bytes, size_t *got)
{
	enum tls_status status;

	pair_feed(end, bytes);
	status = rli_tls_read(&pair.ends[end], plain[end], sizeof(plain[end]), got);
	pair_fed(end);
	return status;
}

void
pair_say(int end, const char *text)
{
	size_t got;

	assert_int_equal(rli_tls_write(&pair.ends[end], (const uint8_t *)text, strlen(text)),
			 TLS_DONE);
	(void)pair_send(end);
	assert_int_equal(pair_read(!end, WIRE_MAX, &got), TLS_DONE);
	assert_int_equal(got, strlen(text));
	assert_memory_equal(plain[!end], text, got);
}

enum tls_status
pair_handshake(size_t bytes)
{
	enum tls_status status[2] = { TLS_WANTS, TLS_WANTS };
	int rounds = 0;

	while (status[SERVER] == TLS_WANTS || status[CLIENT] == TLS_WANTS) {
		for (int end = CLIENT; end >= SERVER; end--) {
			if (status[end] == TLS_WANTS) {
				status[end] = pair_step(end, bytes);
			}
		}
		if (status[SERVER] == TLS_FAILED && status[CLIENT] == TLS_DONE) {
			break; /* who was done first learns of it from its next read */
		}
		assert_true(++rounds < 100000);
	}
	return status[CLIENT] == TLS_DONE ? status[SERVER] : status[CLIENT];
}
