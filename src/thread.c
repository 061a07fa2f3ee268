/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The system's threads: one pinned thread per shard, the acceptor's if there is one, the barrier at
 * the start, the signals, and the end in the order of docs/architecture.md. Invariant: a start that
 * fails leaves nothing behind, and no thread outlives rl_system_stop(), but for thread_resolver.c.
 */
#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/host.h"
#include "loop.h"
#include "system.h"

#define RUN_POLL_REFUSED_MS 10

static _Thread_local bool thread_is_ours;

static int
thread_pin(const struct thread *thread)
{
	const struct rl_system *system = thread->system;
	uint16_t cpu = system->config.cpus[thread->shard->id];
	cpu_set_t set;
	int rc;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	rc = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	if (rc != 0) {
		rli_log(&system->log, RL_LOG_ERROR, (int)thread->shard->id,
			"can't pin to CPU %u: %s; see cpus in the configuration, and taskset(1)",
			cpu, rli_errno_text(-rc));
	}
	return -rc;
}

/* Meet the others; true: everybody opened, turn. */
static bool
thread_barrier(struct thread_set *set, int rc)
{
	bool turns;

	pthread_mutex_lock(&set->lock);
	set->opened++;
	if (rc != 0 && set->rc == 0) {
		set->rc = rc;
	}
	pthread_cond_broadcast(&set->changed);
	while (set->go == THREAD_WAITS) {
		pthread_cond_wait(&set->changed, &set->lock);
	}
	turns = set->go == THREAD_TURNS;
	pthread_mutex_unlock(&set->lock);
	return turns;
}

static void *
thread_main(void *arg)
{
	struct thread *thread = arg;
	struct rl_shard *shard = thread->shard;
	char name[16];
	int rc = thread_pin(thread);

	thread_is_ours = true;

	(void)snprintf(name, sizeof(name), "ringline/%u", shard->id);
	(void)pthread_setname_np(pthread_self(), name); /* a thread without a name works as well */
	if (rc == 0) {
		rc = rli_loop_open(shard, thread->system->config.files_max);
	}
	if (thread_barrier(thread->system->threads, rc)) {
		while (rli_loop_turn(shard)) {
		}
	}
	if (rc == 0) {
		rli_loop_close(shard);
	}
	return NULL;
}

/* Not pinned: it runs where the scheduler finds a moment, beside shards that are. */
static void *
acceptor_main(void *arg)
{
	struct rl_system *system = arg;

	thread_is_ours = true;
	(void)pthread_setname_np(pthread_self(), "ringline/accept"); /* as for shards */
	if (thread_barrier(system->threads, 0)) {
		while (rli_system_acceptor_step(system)) {
		}
	}
	return NULL;
}

static void *
clerk_main(void *arg)
{
	struct rl_system *system = arg;
	struct thread_set *set = system->threads;

	(void)pthread_setname_np(pthread_self(), "ringline/clerk"); /* as for shards */
	/* it was started by a shard, and must not stay on that one's core */
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set->cpus), &set->cpus);
	while (rli_clerk_step(system)) {
	}
	return NULL;
}

int
rli_thread_clerk_start(struct rl_system *system)
{
	struct thread_set *set = system->threads;
	int rc;

	pthread_mutex_lock(&set->lock);
	if (set->clerk_started) {
		(void)pthread_join(set->clerk, NULL); /* it has nothing left to do */
	}
	rc = pthread_create(&set->clerk, NULL, clerk_main, system);
	set->clerk_started = rc == 0;
	pthread_mutex_unlock(&set->lock);
	if (rc != 0) {
		rli_log(&system->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"can't start the thread that opens listeners: %s; see RLIMIT_NPROC",
			rli_errno_text(-rc));
	}
	return -rc;
}

/* Every shard is silent: nobody starts one any more. */
static void
clerk_join(struct thread_set *set)
{
	bool started;

	pthread_mutex_lock(&set->lock);
	started = set->clerk_started;
	pthread_mutex_unlock(&set->lock);
	if (started) {
		(void)pthread_join(set->clerk, NULL);
	}
}

static int
acceptor_spawn(struct rl_system *system)
{
	struct thread_set *set = system->threads;
	int rc;

	if (system->acceptor == NULL) {
		return 0;
	}
	rc = pthread_create(&set->acceptor, NULL, acceptor_main, system);
	if (rc != 0) {
		rli_log(&system->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"can't start the acceptor's thread: %s; see RLIMIT_NPROC",
			rli_errno_text(-rc));
		return -rc;
	}
	set->acceptor_started = true;
	return 0;
}

static int
threads_spawn(struct rl_system *system)
{
	struct thread_set *set = system->threads;
	uint32_t shards = system->config.user.shards;

	for (uint32_t i = 0; i < shards; i++) {
		struct thread *thread = &set->threads[i];
		int rc;

		thread->system = system;
		thread->shard = rli_system_shard(system, i);
		rc = pthread_create(&thread->handle, NULL, thread_main, thread);
		if (rc != 0) {
			rli_log(&system->log, RL_LOG_ERROR, (int)i,
				"can't start the shard's thread: %s; see RLIMIT_NPROC",
				rli_errno_text(-rc));
			return -rc;
		}
		thread->started = true;
	}
	return acceptor_spawn(system);
}

static void
threads_join(struct rl_system *system)
{
	struct thread_set *set = system->threads;

	for (uint32_t i = 0; i < system->config.user.shards; i++) {
		if (set->threads[i].started) {
			(void)pthread_join(set->threads[i].handle, NULL); /* ours, and joinable */
		}
	}
	if (set->acceptor_started) {
		(void)pthread_join(set->acceptor, NULL); /* likewise */
	}
}

/* Wait until @count threads are at the barrier; then let all go the same way. */
static int
threads_release(struct thread_set *set, uint32_t count, int rc)
{
	pthread_mutex_lock(&set->lock);
	while (set->opened < count) {
		pthread_cond_wait(&set->changed, &set->lock);
	}
	if (rc == 0) {
		rc = set->rc;
	}
	set->go = rc == 0 ? THREAD_TURNS : THREAD_QUITS;
	pthread_cond_broadcast(&set->changed);
	pthread_mutex_unlock(&set->lock);
	return rc;
}

static uint32_t
threads_started(const struct rl_system *system)
{
	uint32_t count = system->threads->acceptor_started;

	for (uint32_t i = 0; i < system->config.user.shards; i++) {
		count += system->threads->threads[i].started;
	}
	return count;
}

/*
 * Signals are blocked while the threads are made, so that theirs stay blocked for good; but not
 * those that a thread brings on itself, for whoever handles crashes.
 */
static int
threads_start(struct rl_system *system)
{
	sigset_t all;
	sigset_t before;
	int rc;

	static const int own_fault[] = {
		SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS
	};

	(void)sigfillset(&all);
	for (size_t i = 0; i < sizeof(own_fault) / sizeof(own_fault[0]); i++) {
		(void)sigdelset(&all, own_fault[i]);
	}
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = threads_spawn(system);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	rc = threads_release(system->threads, threads_started(system), rc);
	if (rc != 0) {
		threads_join(system);
	}
	return rc;
}

static size_t
thread_set_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct thread_set) + page - 1) / page * page;
}

static int
thread_set_create(struct rl_system *system)
{
	struct thread_set *set = rli_host_pages_reserve(thread_set_bytes());
	sigset_t ours;

	if (set == NULL || rli_host_pages_commit(set, thread_set_bytes()) != 0) {
		if (set != NULL) {
			rli_host_pages_release(set, thread_set_bytes());
		}
		rli_log(&system->log, RL_LOG_ERROR, LOG_NO_SHARD, "no memory for the threads");
		return -ENOMEM;
	}
	system->threads = set;
	(void)pthread_mutex_init(&set->lock,
				 NULL); /* neither fails on Linux with default attributes */
	(void)pthread_cond_init(&set->changed, NULL);
	CPU_ZERO(&set->cpus);
	(void)sched_getaffinity(0, sizeof(set->cpus), &set->cpus); /* as in machine_read() */
	(void)sigemptyset(&ours);
	(void)sigaddset(&ours, SIGINT);
	(void)sigaddset(&ours, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &ours, &set->mask_before);
	set->signalfd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (set->signalfd < 0) {
		int rc = -errno; /* a log sink may change it */

		rli_log(&system->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"can't make a signalfd: %s; see RLIMIT_NOFILE (ulimit -n)",
			rli_errno_text(rc));
		return rc;
	}
	return 0;
}

/* But for the signals, which are ours until the very end: see signals_give_back(). */
static void
thread_set_destroy(struct rl_system *system)
{
	struct thread_set *set = system->threads;

	(void)pthread_cond_destroy(&set->changed);
	(void)pthread_mutex_destroy(&set->lock);
	rli_host_pages_release(set, thread_set_bytes());
	system->threads = NULL;
}

/* One more Ctrl-C while we stopped is forgotten: with the mask restored it would kill us. */
static void
signals_give_back(int signalfd, const sigset_t *before)
{
	struct signalfd_siginfo info;

	if (signalfd >= 0) {
		while (read(signalfd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		}
		(void)close(signalfd);
	}
	(void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* Threads have ended, or were never started. */
static void
system_free(struct rl_system *system)
{
	const struct thread_set *set = system->threads;
	sigset_t before;
	int signalfd;

	if (set == NULL) {
		rli_system_destroy(system);
		return;
	}
	before = set->mask_before;
	signalfd = set->signalfd;
	thread_set_destroy(system);
	rli_system_destroy(system); /* takes a while: all that memory */
	signals_give_back(signalfd, &before);
}

/* What this process may use: its CPUs, and as many descriptors as the hard limit allows. */
static void
machine_read(struct config_machine *machine)
{
	struct rlimit limit = { 0 };
	cpu_set_t set;

	memset(machine, 0, sizeof(*machine));
	CPU_ZERO(&set);
	(void)sched_getaffinity(0, sizeof(set), &set); /* none allowed: the configuration says so */
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &set)) {
			machine->cpus[machine->cpus_count++] = (uint16_t)cpu;
		}
	}
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* what it is then is read back */
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	machine->nofile = limit.rlim_cur;
}

/* The CPUs that share a core with @cpu, as the kernel writes them; "" when that can't be told. */
static void
machine_siblings(uint16_t cpu, char *out, size_t size)
{
	char path[96];
	FILE *file;

	out[0] = '\0';
	(void)snprintf(path, sizeof(path),
		       "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
	file = fopen(path, "re");
	if (file == NULL) {
		return;
	}
	if (fgets(out, (int)size, file) == NULL) {
		out[0] = '\0';
	}
	out[strcspn(out, "\n")] = '\0';
	(void)fclose(file);
}

static void
start_log(const struct rl_system *system)
{
	const struct config *config = &system->config;
	char text[448];
	char siblings[64];

	if (system->log.level < RL_LOG_INFO) {
		return;
	}
	rli_config_describe(config, text, sizeof(text));
	rli_log(&system->log, RL_LOG_INFO, LOG_NO_SHARD, "started: %s", text);
	for (uint32_t i = 0; i < config->user.shards; i++) {
		machine_siblings(config->cpus[i], siblings, sizeof(siblings));
		rli_log(&system->log, RL_LOG_INFO, (int)i,
			"on CPU %u (CPUs of its core: %s), ring features 0x%x", config->cpus[i],
			siblings[0] != '\0' ? siblings : "unknown",
			rli_ring_features(rli_system_shard(system, i)->ring));
	}
}

/* The sink is needed to say what is wrong with the rest, so it is looked at first, and warily. */
static void
start_log_init(struct log *log, const struct rl_config *user)
{
	size_t known = offsetof(struct rl_config, log_level) + sizeof(user->log_level);

	if (user == NULL || user->struct_size < known) {
		rli_log_init(log, NULL, NULL, RL_LOG_DEFAULT);
	} else if (user->log_level > RL_LOG_DEBUG) {
		rli_log_init(log, user->log, user->log_arg, RL_LOG_DEFAULT);
	} else {
		rli_log_init(log, user->log, user->log_arg, user->log_level);
	}
}

int
rl_system_start(const struct rl_config *user, struct rl_system **sys)
{
	struct rl_system *system = NULL;
	struct config_machine machine;
	struct config config;
	struct log log;
	int rc;

	*sys = NULL;
	start_log_init(&log, user);
	machine_read(&machine);
	if (machine.cpus_count == 0) {
		rli_log(&log, RL_LOG_ERROR, LOG_NO_SHARD,
			"can't tell which CPUs are allowed; see taskset(1) and cpuset(7)");
		return -ENODEV;
	}
	rc = rli_config_resolve(&config, user, &machine, &log);
	if (rc != 0) {
		return rc;
	}
	rc = rli_system_create(&system, &config, &log);
	if (rc != 0) {
		return rc;
	}
	rc = thread_set_create(system);
	if (rc == 0) {
		rc = threads_start(system);
	}
	if (rc != 0) {
		system_free(system);
		return rc;
	}
	start_log(system);
	*sys = system;
	return 0;
}

static void
run_read_signals(struct rl_system *system)
{
	struct signalfd_siginfo info;

	while (read(system->threads->signalfd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		rli_log(&system->log, RL_LOG_INFO, LOG_NO_SHARD, "signal %u: %s", info.ssi_signo,
			rli_system_drain_level(system) == SYSTEM_RUNS ? "draining" : "cutting");
		rl_system_drain(system);
	}
}

/*
 * poll(2) refuses more descriptors than RLIMIT_NOFILE, which somebody may lower while we run: then
 * both are tried, a hundred times a second.
 */
static void
run_wait(struct pollfd fds[2])
{
	if (poll(fds, 2, -1) < 0 && errno != EINTR) {
		(void)poll(NULL, 0, RUN_POLL_REFUSED_MS);
		fds[0].revents = POLLIN;
	}
}

int
rl_system_run(struct rl_system *sys)
{
	struct pollfd fds[] = {
		{ .fd = sys->threads->signalfd, .events = POLLIN },
		{ .fd = sys->eventfd, .events = POLLIN },
	};

	RL_ASSERT(!thread_is_ours); /* it would wait for its own end */
	while (!rli_system_is_silent(sys)) {
		run_wait(fds);
		if (fds[0].revents != 0) {
			run_read_signals(sys);
		}
		rli_host_eventfd_drain(sys->eventfd);
	}
	return 0;
}

void
rl_system_stop(struct rl_system *sys)
{
	if (sys == NULL) {
		return;
	}
	if (rli_system_drain_level(sys) == SYSTEM_RUNS) {
		rl_system_drain(sys);
	}
	(void)rl_system_run(sys); /* returns 0 only */
	clerk_join(sys->threads); /* what it asks of shards they still answer */
	rli_thread_resolver_leave(sys);
	rli_system_end(sys);
	threads_join(sys);
	rli_system_remove_sockets(sys);
	rli_log(&sys->log, RL_LOG_INFO, LOG_NO_SHARD, "stopped: every thread has ended");
	system_free(sys);
}

void
rli_thread_wait(struct rl_system *system, _Atomic uint32_t *unanswered)
{
	struct thread_set *set = system->threads;

	RL_ASSERT(!thread_is_ours); /* it would wait for itself */
	pthread_mutex_lock(&set->lock);
	/* pairs with: rli_system_answer() */
	while (atomic_load_explicit(unanswered, memory_order_acquire) != 0) {
		pthread_cond_wait(&set->changed, &set->lock);
	}
	pthread_mutex_unlock(&set->lock);
}

void
rli_thread_answered(struct rl_system *system)
{
	struct thread_set *set = system->threads;

	pthread_mutex_lock(&set->lock);
	pthread_cond_broadcast(&set->changed);
	pthread_mutex_unlock(&set->lock);
}
