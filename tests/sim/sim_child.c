/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim_child.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mutant.h"

#define CHILD_SECONDS_MAX 30 /* for a seed; one that hangs has failed like any other */
#define CANARY_SEEDS	  20

#ifdef RL_MUTANTS
unsigned rli_mutant;
#endif

static void
child_set_mutant(unsigned mutant)
{
#ifdef RL_MUTANTS
	rli_mutant = mutant;
#else
	sim_check(mutant == 0, "this build has no mutants");
#endif
}

/* The child's part: a byte to @done_fd for each seed that went well. */
static _Noreturn void
child_main(int done_fd, int words_fd, uint64_t from, uint64_t seeds,
	   const struct sim_run_options *options)
{
	(void)dup2(words_fd, STDERR_FILENO);
	for (uint64_t i = 0; i < seeds; i++) {
		alarm(CHILD_SECONDS_MAX);
		(void)sim_run(from + i, options);
		if (write(done_fd, "", 1) != 1) {
			_exit(1);
		}
	}
	_exit(0);
}

static uint64_t
child_count(int done_fd)
{
	char bytes[256];
	uint64_t count = 0;
	ssize_t got;

	while ((got = read(done_fd, bytes, sizeof(bytes))) > 0) {
		count += (uint64_t)got;
	}
	return count;
}

/* The last line but those of the replay and of explanations. */
static void
child_words(int words_fd, char *why, size_t size)
{
	char text[8192];
	ssize_t got = read(words_fd, text, sizeof(text) - 1);
	char *line;
	char *rest = NULL;

	why[0] = '\0';
	if (got <= 0) {
		return;
	}
	text[got] = '\0';
	for (line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		if (strstr(line, "sim: seed") != NULL || strstr(line, "assertion") != NULL ||
		    strstr(line, "ERROR:") != NULL) {
			(void)snprintf(why, size, "%s", line);
			return;
		}
	}
}

struct sim_child
sim_child_run(uint64_t from, uint64_t seeds, const struct sim_run_options *options, unsigned mutant)
{
	struct sim_child child = { 0 };
	int done[2];
	int words[2];
	int status;
	pid_t pid;

	(void)fflush(stdout);
	sim_check(pipe(done) == 0 && pipe(words) == 0, "no pipe");
	pid = fork();
	sim_check(pid >= 0, "no process");
	if (pid == 0) {
		child_set_mutant(mutant);
		close(done[0]);
		close(words[0]);
		child_main(done[1], words[1], from, seeds, options);
	}
	close(done[1]);
	close(words[1]);
	child.seeds = child_count(done[0]);
	child_words(words[0], child.why, sizeof(child.why));
	close(done[0]);
	close(words[0]);
	sim_check(waitpid(pid, &status, 0) == pid, "a child is lost");
	child.failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	child.seeds += child.failed;
	if (child.failed && child.why[0] == '\0') {
		(void)snprintf(child.why, sizeof(child.why), "signal %d",
			       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
	return child;
}

bool
sim_canary(uint64_t from, const struct sim_run_options *options)
{
	struct sim_run_options planted = *options;
	struct sim_child child;

	planted.canary = true;
	child = sim_child_run(from, CANARY_SEEDS, &planted, 0);
	printf("sim: the canary %s\n",
	       child.failed ? "died, as it must" : "LIVES: nothing is proved");
	return child.failed;
}

#define MUTANT_NAME(name, what) { #name, what },

static const struct {
	const char *name;
	const char *what;
} mutants[] = { { "NONE", "" }, MUTANT_LIST(MUTANT_NAME) };

bool
sim_mutants(uint64_t from, uint64_t seeds, const struct sim_run_options *options, const char *name)
{
	struct sim_run_options chosen = *options;
	uint32_t lived = 0;
	uint32_t count = 0;

	printf("%-24s %6s  %s\n", "mutant", "seeds", "killed by");
	for (unsigned i = MUTANT_NONE + 1; i < MUTANTS; i++) {
		struct sim_child child;

		if (name != NULL && strcmp(name, mutants[i].name) != 0) {
			continue;
		}
		chosen.tls = options->tls || strncmp(mutants[i].name, "TLS_", 4) == 0;
		child = sim_child_run(from, seeds, &chosen, i);
		count++;
		lived += !child.failed;
		printf("%-24s %6" PRIu64 "  %s\n", mutants[i].name, child.seeds,
		       child.failed ? child.why : "LIVES");
	}
	printf("sim: %u mutants, %u live\n", count, lived);
	return count > 0 && lived == 0;
}
