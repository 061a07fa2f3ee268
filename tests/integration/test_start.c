/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Proved: a configuration that is wrong is refused with one line that names the field; what the
 * machine denies is answered with a line that names cause and remedy; and a start that failed
 * leaves nothing behind (pitfalls 28, 29, 88, 91, 92).
 * How: a table of bad values; children with a seccomp filter, a low limit, few CPUs.
 * Not proved: each allocation that can fail; the simulator fails them one by one.
 */
#include "client.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct bad {
	struct rl_config config;
	int rc;
	const char *says;
};

/* RL_CONFIG() is a compound literal, which an initialiser of static data may not be. */
#define PLAIN(...)	  { .struct_size = sizeof(struct rl_config), __VA_ARGS__ }
#define BAD(field, value) { PLAIN(.field = (value)), -EINVAL, #field }

static const struct bad bads[] = {
	BAD(shards, 257),
	BAD(shards, UINT32_MAX),
	BAD(sq_entries, 63),
	BAD(sq_entries, 1000),
	BAD(sq_entries, 32768),
	BAD(cq_entries, 128),
	BAD(cq_entries, 131072),
	BAD(cq_entries, 2048),
	BAD(turn_cqes_max, 31),
	BAD(turn_cqes_max, 65537),
	BAD(turn_actors_max, 65537),
	BAD(actor_batch_max, 1025),
	BAD(actors_max, 1u << 24),
	BAD(mailbox_max, 65537),
	BAD(messages_max, (1u << 24) + 1),
	BAD(timers_max, 1u << 24),
	BAD(conns_max, (1u << 20) + 1),
	BAD(conns_policy, (enum rl_conns_policy)2),
	BAD(accept_mode, (enum rl_accept_mode)3),
	BAD(accepts_in_flight, 257),
	BAD(backlog, 65536),
	BAD(recv_buffers, 4),
	BAD(recv_buffers, 100),
	BAD(recv_buffers, 65536),
	BAD(recv_buffer_bytes, 1023),
	BAD(recv_buffer_bytes, 65537),
	BAD(recv_pending_max_bytes, 1023),
	BAD(recv_pending_max_bytes, (16u << 20) + 1),
	BAD(recv_pool_bytes, 65535),
	BAD(send_pool_bytes, (4u << 20) - 1),
	BAD(send_low_bytes, (512u << 20) + 1),
	BAD(send_high_bytes, (512u << 20) + 1),
	BAD(send_cap_bytes, 100000),
	BAD(connect_timeout_ns, -2),
	BAD(first_byte_timeout_ns, -2),
	BAD(idle_timeout_ns, INT64_MIN),
	BAD(stall_timeout_ns, -RL_SEC(1)),
	BAD(linger_timeout_ns, -2),
	BAD(drain_timeout_ns, -2),
	BAD(log_level, (enum rl_log_level)5),
	BAD(without, 1u << 31),
	BAD(cpus, ""),
	BAD(cpus, "a"),
	BAD(cpus, "3-1"),
	BAD(cpus, "0,"),
	BAD(cpus, "0,0"),
	{ PLAIN(.send_low_bytes = 1000, .send_high_bytes = 1000), -EINVAL, "send_low_bytes" },
	{ PLAIN(.send_high_bytes = 1 << 20, .send_cap_bytes = 1 << 20), -EINVAL, "send_cap_bytes" },
	{ PLAIN(.send_cap_bytes = 8 << 20, .send_pool_bytes = 4 << 20), -EINVAL, "send_cap_bytes" },
	{ PLAIN(.actors_max = 10, .conns_max = 11), -EINVAL, "actors_max" },
	{ PLAIN(.shards = 256), -ENODEV, "shards" },
};

static void
start_with_a_bad_value_names_the_field(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < RIG_COUNT(bads); i++) {
		struct rl_config config = bads[i].config;
		int rc;

		config.shards = config.cpus != NULL ? 1 : config.shards;
		rc = rig_try_start(rig, config);
		if (rc != bads[i].rc) {
			print_error("row %zu (%s): %d, \"%s\"\n", i, bads[i].says, rc,
				    rig->log.text);
		}
		assert_int_equal(rc, bads[i].rc);
		rig_assert_logged(rig, bads[i].says);
	}
	rig_end(rig);
}

/* The values at the ends of the ranges are good ones. */
static void
start_with_values_at_the_edges_works(void **state)
{
	static const struct rl_config edges[] = {
		PLAIN(.sq_entries = 64, .cq_entries = 256, .turn_cqes_max = 32,
		      .turn_actors_max = 1, .actor_batch_max = 1, .mailbox_max = 1,
		      .messages_max = 1, .timers_max = 1, .conns_max = 1, .actors_max = 1,
		      .accepts_in_flight = 1, .backlog = 1, .recv_buffers = 8,
		      .recv_buffer_bytes = 1024, .recv_pending_max_bytes = 1024,
		      .recv_pool_bytes = 65536, .send_pool_bytes = 4194304, .send_low_bytes = 1,
		      .send_high_bytes = 2, .send_cap_bytes = 2050),
		PLAIN(.sq_entries = 16384, .cq_entries = 65536, .turn_cqes_max = 65536,
		      .turn_actors_max = 65536, .actor_batch_max = 1024, .recv_buffers = 1024,
		      .recv_buffer_bytes = 65536, .accepts_in_flight = 256, .backlog = 65535,
		      .conns_max = 1000),
	};
	struct rig *rig = *state;
	struct probe *probe = &rig->probes[0];

	for (size_t i = 0; i < RIG_COUNT(edges); i++) {
		int fd;

		rig_start(rig, edges[i]);
		rig_listen(rig, "tcp://127.0.0.1:0", &rig_echo, probe);
		for (uint32_t k = 1; k <= 3; k++) {
			uint8_t out[20000];
			uint8_t in[sizeof(out)];

			fd = client_dial(rig->url);
			pattern_fill(k, 0, out, sizeof(out));
			client_send(fd, out, sizeof(out));
			client_recv(fd, in, sizeof(in));
			assert_memory_equal(out, in, sizeof(in));
			client_close(fd);
			rig_await(rig, probe->stops, 3 * i + k);
		}
		rig_assert_idle(rig);
		rl_system_stop(rig->sys);
		rig->sys = NULL;
	}
	rig_end(rig);
}

static void
start_log_line(void *arg, enum rl_log_level level, int shard, const char *text)
{
	struct rig_log *log = arg;

	(void)level;
	(void)shard;
	log->lines++; /* nobody else speaks */
	(void)snprintf(log->text, sizeof(log->text), "%s", text);
}

/* A program that was compiled with fewer fields, and one with more that it does not use. */
static void
start_knows_how_much_the_program_knows(void **state)
{
	struct rig *rig = *state;
	struct {
		struct rl_config config;
		uint64_t later;
	} newer = { { .struct_size = sizeof(newer) }, 0 };
	struct rl_config older = { .struct_size = offsetof(struct rl_config, recv_pool_bytes) };
	struct rl_system *sys;

	older.shards = 1;
	older.recv_pool_bytes = 1; /* behind the end of its struct: not looked at */
	assert_int_equal(rl_system_start(&older, &sys), 0);
	rl_system_stop(sys);

	newer.config.shards = 1;
	newer.config.log = start_log_line;
	newer.config.log_arg = &rig->log;
	assert_int_equal(rl_system_start(&newer.config, &sys), 0);
	rl_system_stop(sys);

	newer.later = 1; /* a field that this library does not have */
	assert_int_equal(rl_system_start(&newer.config, &sys), -EINVAL);
	rig_assert_logged(rig, "struct_size");
	rig_end(rig);
}

static void
start_without_a_configuration_works(void **state)
{
	struct rl_system *sys;

	assert_int_equal(rl_system_start(NULL, &sys), 0);
	assert_true(rl_system_shards(sys) >= 1);
	assert_string_equal(rl_version(), RL_VERSION_STRING);
	rl_system_stop(sys);
	rig_end(*state);
}

/* ---- children on a worse machine ---- */

/* Make io_uring_setup(2) answer @error, for this process and for good. */
static int
deny_io_uring(uint32_t error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { (unsigned short)RIG_COUNT(filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		return -1;
	}
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int
limit_nofile(uint32_t limit)
{
	struct rlimit both = { limit, limit };

	return setrlimit(RLIMIT_NOFILE, &both);
}

static int
allow_one_cpu(uint32_t unused)
{
	cpu_set_t before;
	cpu_set_t one;
	int cpu = 0;

	(void)unused;
	if (sched_getaffinity(0, sizeof(before), &before) != 0) {
		return -1;
	}
	while (!CPU_ISSET(cpu, &before)) {
		cpu++;
	}
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one);
}

struct worse {
	int (*make)(uint32_t how);
	uint32_t how;
	struct rl_config config;
	int rc;
	const char *says[2]; /* the cause, and the remedy */
};

/* In the child: 0 when everything is as it should be, else which check failed. */
static int
worse_check(const struct worse *worse, struct rig *rig)
{
	uint32_t fds;
	int rc;

	if (worse->make(worse->how) != 0) {
		return 2;
	}
	fds = rig_fds();
	for (uint32_t i = 0; i < 3; i++) {
		rig->log.lines = 0;
		rc = rig_try_start(rig, worse->config);
		if (rc != worse->rc) {
			(void)fprintf(stderr, "answered %d: %s\n", rc, rig->log.text);
			return 3;
		}
		if (rc == 0) {
			rl_system_stop(rig->sys);
		} else if (rig->log.lines != 1 || strstr(rig->log.text, worse->says[0]) == NULL ||
			   strstr(rig->log.text, worse->says[1]) == NULL) {
			(void)fprintf(stderr, "%u lines, the last: %s\n", rig->log.lines,
				      rig->log.text);
			return 4;
		}
		if (rig_fds() != fds || !rig_threads_are_gone()) {
			(void)fprintf(stderr, "%u descriptors, then %u; or threads\n", fds,
				      rig_fds());
			return 5;
		}
	}
	return 0;
}

static void
worse_run(struct rig *rig, const struct worse *worse)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		_exit(worse_check(worse, rig));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	rig_end(rig);
}

static void
start_where_io_uring_is_forbidden_says_so(void **state)
{
	worse_run(*state, &(struct worse){ deny_io_uring,
					   EPERM,
					   RL_CONFIG(.shards = 1),
					   -EPERM,
					   { "forbidden", "seccomp" } });
}

static void
start_where_io_uring_is_missing_says_so(void **state)
{
	worse_run(*state, &(struct worse){ deny_io_uring,
					   ENOSYS,
					   RL_CONFIG(.shards = 1),
					   -ENOSYS,
					   { "no io_uring", "Linux 6.0" } });
}

static void
start_above_the_file_limit_says_so(void **state)
{
	worse_run(*state, &(struct worse){ limit_nofile,
					   1024,
					   RL_CONFIG(.shards = 1, .conns_max = 5000),
					   -EMFILE,
					   { "conns_max", "RLIMIT_NOFILE" } });
}

static void
start_with_hardly_any_files_says_so(void **state)
{
	worse_run(*state, &(struct worse){ limit_nofile,
					   20,
					   RL_CONFIG(.shards = 1),
					   -EMFILE,
					   { "RLIMIT_NOFILE", "ulimit -n" } });
}

/* A modest limit is enough for modest defaults. */
static void
start_with_a_modest_file_limit_works(void **state)
{
	worse_run(*state,
		  &(struct worse){ limit_nofile, 1024, RL_CONFIG(.shards = 1), 0, { "", "" } });
}

static void
start_with_more_shards_than_cpus_says_so(void **state)
{
	worse_run(*state,
		  &(struct worse){
			  allow_one_cpu, 0, RL_CONFIG(.shards = 2), -ENODEV, { "shards", "CPU" } });
}

static void
start_on_a_cpu_that_is_not_allowed_says_so(void **state)
{
	worse_run(*state, &(struct worse){ allow_one_cpu,
					   0,
					   RL_CONFIG(.shards = 1, .cpus = "1023"),
					   -ENODEV,
					   { "cpus", "1023" } });
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		rig_case(start_with_a_bad_value_names_the_field),
		rig_case(start_with_values_at_the_edges_works),
		rig_case(start_knows_how_much_the_program_knows),
		rig_case(start_without_a_configuration_works),
		rig_case(start_where_io_uring_is_forbidden_says_so),
		rig_case(start_where_io_uring_is_missing_says_so),
		rig_case(start_above_the_file_limit_says_so),
		rig_case(start_with_hardly_any_files_says_so),
		rig_case(start_with_a_modest_file_limit_works),
		rig_case(start_with_more_shards_than_cpus_says_so),
		rig_case(start_on_a_cpu_that_is_not_allowed_says_so),
	};

	return rig_run("start", tests);
}
