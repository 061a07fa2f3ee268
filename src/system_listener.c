/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Listeners over all shards. Every socket call that can fail is made here, in the caller's thread,
 * before the first shard hears of it; the shards, or the acceptor, only begin to accept.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "actor/actor.h"
#include "base/host.h"
#include "net/listener.h"
#include "net/listener_options.h"
#include "net/sys.h"
#include "net/tcp.h"
#include "system.h"
#include "tls/tls_context.h"

#define BLAME_MAX 64

static const struct rl_listener_options options_default;

struct opening {
	struct rl_system *system;
	struct system_listener *listener;
	uint32_t number;
	struct tcp_settings tcp;
	uint32_t fds_count;
	int fds[ID_SHARDS_MAX];
};

static void
opening_close_fds(struct opening *opening)
{
	while (opening->fds_count > 0) {
		rli_sys_close(opening->fds[--opening->fds_count]);
	}
}

/*
 * Nobody else may listen there. The probe goes without SO_REUSEPORT, because with it two servers
 * would silently share the port's connections; a socket that listens alone finds out itself.
 */
static int
opening_check(const struct opening *opening, const struct url *url)
{
	if (url->is_unix) {
		return rli_sys_unix_unlink_stale(url);
	}
	return opening->system->acceptor != NULL ? 0 : rli_sys_probe(url);
}

/* The first socket decides the address (a port 0 becomes a real one); the others join it. */
static int
opening_bind(struct opening *opening, const struct url *url)
{
	const struct rl_config *config = &opening->system->config.user;
	struct url *bound = &opening->listener->bound;
	bool alone = opening->system->acceptor != NULL;
	enum sys_listen how = alone ? SYS_LISTEN_ALONE : SYS_LISTEN_SHARED;
	int fd;
	int rc;

	rli_tcp_settings_listener(&opening->tcp, &opening->listener->options);
	fd = rli_sys_listen(url, config->backlog, how, &opening->tcp);
	if (fd < 0) {
		return fd;
	}
	rli_tcp_settings_log(&opening->tcp, &opening->system->log);
	opening->fds[opening->fds_count++] = fd;
	*bound = *url;
	rli_sys_unix_file(url, &opening->listener->file);
	rc = rli_sys_bound(fd, bound);
	while (rc == 0 && !alone && opening->fds_count < config->shards) {
		fd = url->is_unix ? rli_sys_dup(opening->fds[0])
				  : rli_sys_listen(bound, config->backlog, how, &opening->tcp);
		if (fd < 0) {
			rc = fd;
		} else {
			opening->fds[opening->fds_count++] = fd;
		}
	}
	return rc;
}

static const char *
opening_remedy(int rc)
{
	switch (rc) {
	case -EADDRINUSE:
		return "; another program listens there, stop it or choose another address";
	case -EACCES:
		return "; ports below 1024 and protected paths need a privilege";
	case -ENOENT:
		return "; a folder of the path does not exist";
	case -EROFS:
		return "; the file system is read-only";
	case -EADDRNOTAVAIL:
		return "; this machine has no such address";
	case -EEXIST:
		return "; the path is taken by something that is not a socket";
	case -EMFILE:
		return "; raise RLIMIT_NOFILE (ulimit -n)";
	default:
		return "";
	}
}

static struct control_request
opening_request(const struct opening *opening, enum control_kind kind, _Atomic uint32_t *unanswered)
{
	return (struct control_request){
		.control = { .kind = kind },
		.unanswered = unanswered,
		.listener = opening->number,
		.tls = opening->listener->tls,
		.fd = -1,
	};
}

/* Ask every shard for @kind, and wait; the first error there was. */
static int
ask_all(struct opening *opening, enum control_kind kind, struct control_request *requests)
{
	uint32_t shards = opening->system->config.user.shards;
	bool takes = kind == CONTROL_LISTEN && opening->system->acceptor == NULL;
	_Atomic uint32_t unanswered = shards;
	int rc = 0;

	for (uint32_t i = 0; i < shards; i++) {
		requests[i] = opening_request(opening, kind, &unanswered);
		requests[i].fd = takes ? opening->fds[i] : -1;
		rli_system_ask(opening->system, i, &requests[i]);
	}
	rli_thread_wait(opening->system, &unanswered);
	for (uint32_t i = 0; i < shards && rc == 0; i++) {
		rc = requests[i].rc;
	}
	return rc;
}

/* The same of the acceptor, if there is one. */
static int
ask_acceptor(struct opening *opening, enum control_kind kind)
{
	_Atomic uint32_t unanswered = 1;
	struct control_request request = opening_request(opening, kind, &unanswered);

	if (opening->system->acceptor == NULL) {
		return 0;
	}
	request.fd = kind == CONTROL_LISTEN ? opening->fds[0] : -1;
	rli_system_acceptor_ask(opening->system, &request);
	rli_thread_wait(opening->system, &unanswered);
	return request.rc;
}

/* The acceptor first: what it has handed over by then, the shards still find a listener for. */
static void
listener_unlisten(struct opening *opening)
{
	struct control_request requests[ID_SHARDS_MAX];

	/* closing can't fail */
	(void)ask_acceptor(opening, CONTROL_UNLISTEN);
	(void)ask_all(opening, CONTROL_UNLISTEN, requests);
	rli_sys_unix_remove(&opening->listener->bound, &opening->listener->file);
}

/* All or none: who did begin stops again. The acceptor begins when every shard can adopt. */
static int
opening_start(struct opening *opening)
{
	struct control_request requests[ID_SHARDS_MAX];
	int rc = ask_all(opening, CONTROL_LISTEN, requests);

	if (rc == 0) {
		rc = ask_acceptor(opening, CONTROL_LISTEN);
	}
	if (rc == 0) {
		return 0;
	}
	for (uint32_t i = 0; i < opening->fds_count; i++) {
		if (opening->system->acceptor != NULL || requests[i].rc != 0) {
			rli_sys_close(opening->fds[i]); /* this one was not taken */
		}
	}
	listener_unlisten(opening);
	return rc;
}

static struct system_listener *
listener_reserve(struct rl_system *system, uint32_t *number)
{
	struct system_listener *found = NULL;

	pthread_mutex_lock(&system->listeners_lock);
	for (uint32_t i = 0; i < CONFIG_LISTENERS_MAX && found == NULL; i++) {
		if (!system->listeners[i].open && !system->listeners[i].busy) {
			found = &system->listeners[i];
			found->busy = true;
			*number = i;
		}
	}
	pthread_mutex_unlock(&system->listeners_lock);
	if (found != NULL) {
		rli_clerk_forget(system, *number);
	}
	return found;
}

static void
listener_settle(struct rl_system *system, struct system_listener *listener, bool open)
{
	pthread_mutex_lock(&system->listeners_lock);
	listener->busy = false;
	listener->open = open;
	if (open) {
		listener->generation = id_generation_next(listener->generation);
	}
	pthread_mutex_unlock(&system->listeners_lock);
}

/* The kernel refused a TCP option: said in the place of the remedy, since it says what to do. */
static const char *
opening_blame(const struct opening *opening, int rc, char *blame, size_t size)
{
	if (opening->tcp.failed == NULL) {
		return opening_remedy(rc);
	}
	(void)snprintf(blame, size, "; it refused the option %s", opening->tcp.failed);
	return blame;
}

static int
listener_refuse(struct rl_system *system, const char *text, int rc, const char *remedy)
{
	char escaped[2 * RL_URL_MAX];

	/* in a drain nobody did anything wrong */
	rli_log(&system->log, rc == -ESHUTDOWN ? RL_LOG_INFO : RL_LOG_ERROR, LOG_NO_SHARD,
		"can't listen on %s: %s%s",
		rli_log_escape(escaped, sizeof(escaped), text, strlen(text)), rli_errno_text(rc),
		remedy);
	return rc;
}

/*
 * Tickets can be made, and everything is read from files. 0 or a negative errno, logged but for
 * -ENOMEM. The key first: without random numbers OpenSSL makes no context, and does not say why.
 */
static int
listener_read_tls(struct rl_system *system, const struct rl_tls_options *options,
		  struct tls_context **out)
{
	int rc = rli_tls_tickets_ready(&system->tickets, rli_host_now_ns());

	if (rc != 0) {
		rli_log(&system->log, RL_LOG_ERROR, LOG_NO_SHARD,
			"tls: can't make a key for session tickets: OpenSSL has no random numbers");
		return rc;
	}
	rc = rli_tls_context_create(out, TLS_SERVER, options, &system->log);
	if (rc == 0) {
		rli_tls_context_resume(*out, &system->tickets);
	}
	return rc;
}

/* Certificate and key are read and checked before there is a socket. */
static int
opening_tls(struct opening *opening, const struct url *url, const char *text)
{
	const struct rl_tls_options *options = opening->listener->options.conn.tls;
	const struct log *log = &opening->system->log;
	char escaped[2 * RL_URL_MAX];

	opening->listener->options.conn.tls = NULL; /* borrowed for this call */
	if (url->is_tls && options != NULL) {
		return listener_read_tls(opening->system, options, &opening->listener->tls);
	}
	if (url->is_tls == (options != NULL)) {
		return 0;
	}
	rli_log(log, RL_LOG_ERROR, LOG_NO_SHARD, "can't listen on %s: %s",
		rli_log_escape(escaped, sizeof(escaped), text, strlen(text)),
		url->is_tls ? "tls:// needs options.conn.tls, with a certificate and its key"
			    : "options.conn.tls is given, but the url is not tls://");
	return -EINVAL;
}

/* Connections keep what they need of it. */
static void
listener_forget_tls(struct system_listener *listener)
{
	rli_tls_context_destroy(listener->tls);
	listener->tls = NULL;
}

static int
listener_open_reserved(struct opening *opening, const char *text)
{
	const struct log *log = &opening->system->log;
	char blame[BLAME_MAX];
	struct url url;
	int rc = rli_url_parse(&url, text, URL_LISTEN, log);

	if (rc == 0) {
		rc = rli_listener_options_check_url(&opening->listener->options, &url, log);
	}
	if (rc != 0) {
		return rc;
	}
	url.mode = (uint16_t)opening->listener->options.unix_mode;
	rc = opening_tls(opening, &url, text);
	if (rc != 0) {
		return rc;
	}
	rc = opening_check(opening, &url);
	if (rc == 0) {
		rc = opening_bind(opening, &url);
	}
	if (rc != 0) {
		opening_close_fds(opening);
		rli_sys_unix_remove(&url, &opening->listener->file);
		return listener_refuse(opening->system, text, rc,
				       opening_blame(opening, rc, blame, sizeof(blame)));
	}
	rc = opening_start(opening);
	return rc == 0 ? 0 : listener_refuse(opening->system, text, rc, "");
}

int
rl_listener_open(struct rl_system *sys, const char *url, const struct rl_actor_def *def,
		 const struct rl_listener_options *options, rl_listener_id *id)
{
	struct opening opening = { .system = sys };
	int rc;

	if (id != NULL) {
		*id = (rl_listener_id){ 0 };
	}
	rc = rli_actor_def_check(def, &sys->log);
	if (rc == 0 && options != NULL) {
		rc = rli_listener_options_check(options, &sys->log);
	}
	if (rc != 0) {
		return rc;
	}
	if (rli_system_drain_level(sys) != SYSTEM_RUNS) {
		return listener_refuse(sys, url, -ESHUTDOWN, "; the system drains");
	}
	opening.listener = listener_reserve(sys, &opening.number);
	if (opening.listener == NULL) {
		return listener_refuse(sys, url, -ENOBUFS, "; 16 listeners are open already");
	}
	opening.listener->def = def;
	opening.listener->file = (struct sys_file){ 0 };
	opening.listener->options = options != NULL ? *options : options_default;
	rc = listener_open_reserved(&opening, url);
	if (rc != 0) {
		listener_forget_tls(opening.listener);
	}
	listener_settle(sys, opening.listener, rc == 0);
	if (rc == 0 && id != NULL) {
		id->private_bits = id_pack(opening.listener->generation, 0, opening.number);
	}
	return rc;
}

/* Open as it was claimed, under the same id. */
static void
listener_release(struct rl_system *system, struct system_listener *listener)
{
	pthread_mutex_lock(&system->listeners_lock);
	listener->busy = false;
	pthread_mutex_unlock(&system->listeners_lock);
}

/* The open listener with this id, made busy; NULL: there is none. */
static struct system_listener *
listener_claim(struct rl_system *system, rl_listener_id id)
{
	uint32_t number = id_slot(id.private_bits);
	struct system_listener *listener = NULL;

	if (number >= CONFIG_LISTENERS_MAX) {
		return NULL;
	}
	pthread_mutex_lock(&system->listeners_lock);
	if (system->listeners[number].open && !system->listeners[number].busy &&
	    system->listeners[number].generation == id_generation(id.private_bits)) {
		listener = &system->listeners[number];
		listener->busy = true;
	}
	pthread_mutex_unlock(&system->listeners_lock);
	return listener;
}

int
rl_listener_url(struct rl_system *sys, rl_listener_id id, char url[RL_URL_MAX])
{
	uint32_t number = id_slot(id.private_bits);
	int rc = -ENOENT;

	url[0] = '\0';
	if (number >= CONFIG_LISTENERS_MAX) {
		return rc;
	}
	pthread_mutex_lock(&sys->listeners_lock);
	if (sys->listeners[number].open &&
	    sys->listeners[number].generation == id_generation(id.private_bits)) {
		rli_url_format(&sys->listeners[number].bound, url);
		rc = 0;
	}
	pthread_mutex_unlock(&sys->listeners_lock);
	return rc;
}

int
rl_listener_reload(struct rl_system *sys, rl_listener_id id, const struct rl_tls_options *tls)
{
	struct control_request requests[ID_SHARDS_MAX];
	struct opening opening = { .system = sys };
	struct tls_context *old;
	struct tls_context *new = NULL;
	int rc = -EINVAL;

	opening.listener = listener_claim(sys, id);
	if (opening.listener == NULL) {
		return -ENOENT;
	}
	opening.number = id_slot(id.private_bits);
	old = opening.listener->tls;
	if (old != NULL && tls != NULL) {
		rc = listener_read_tls(sys, tls, &new);
	} else {
		rli_log(&sys->log, RL_LOG_ERROR, LOG_NO_SHARD, "can't reload: %s",
			old == NULL ? "the listener is not tls://" : "there are no tls options");
	}
	if (rc == 0) {
		opening.listener->tls = new;
		(void)ask_all(&opening, CONTROL_RELOAD, requests); /* it can't fail */
		rli_tls_context_destroy(old); /* no shard makes sessions of it any more */
	}
	listener_release(sys, opening.listener);
	return rc;
}

int
rl_listener_close(struct rl_system *sys, rl_listener_id id)
{
	struct opening opening = { .system = sys };

	opening.listener = listener_claim(sys, id);
	if (opening.listener == NULL) {
		return -ENOENT;
	}
	opening.number = id_slot(id.private_bits);
	listener_unlisten(&opening);
	listener_forget_tls(opening.listener);
	listener_settle(sys, opening.listener, false);
	return 0;
}

void
rli_system_listeners_tell(struct rl_shard *shard)
{
	struct control *closed;
	uint32_t number;
	int error;

	while ((error = rli_listener_broken(shard, &number)) != 0) {
		rli_clerk_broken(shard->system, number, error);
	}
	while ((closed = rli_listener_closed(shard)) != NULL) {
		rli_system_answer(list_entry(closed, struct control_request, control));
	}
}

void
rli_system_remove_sockets(struct rl_system *system)
{
	for (uint32_t i = 0; i < CONFIG_LISTENERS_MAX; i++) {
		if (system->listeners[i].open) {
			rli_sys_unix_remove(&system->listeners[i].bound,
					    &system->listeners[i].file);
			listener_forget_tls(&system->listeners[i]);
		}
	}
}
