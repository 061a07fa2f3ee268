/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The simulated twin of thread_resolver.c and of the system's resolver: workers that are out for
 * as long as the seed says, some of them for ever, and what they come home with.
 *
 * A host name is NAME.sim or NAME-LINK.sim. By NAME:
 *
 *	one	127.0.0.1, where the listeners of the world are
 *	many	1 to 8 addresses in any order, some of them refused (127.1.x.x), some of them black
 *		holes (127.2.x.x), in any family
 *	holes	two black holes, then 127.0.0.1
 *	refused	three refused ones, then 127.0.0.1
 *	none	there is no such host
 */
#ifndef RINGLINE_SIM_RESOLVER_H
#define RINGLINE_SIM_RESOLVER_H

#include <stdbool.h>
#include <stdint.h>

#include "net/resolver.h"
#include "net/url.h"

void sim_resolver_reset(void);

/* Workers that could do something now; let one of them; when the next one will. */
uint32_t sim_resolver_ready(void);
void sim_resolver_step(uint32_t nth);
uint64_t sim_resolver_next_ns(void);

/* Other threads while a shard is in the middle of its turn. */
void sim_resolver_interleave(void);

/* The system stops: those who are out are left behind. And they come home to nothing. */
void sim_resolver_leave(struct resolver *resolver);
void sim_resolver_end(void);

/* The link that a name belongs to; 0: none. */
uint32_t sim_resolver_link(const char *host);

/* How long it takes, from now on, in place of what the seed says; UINT64_MAX: for ever. */
void sim_resolver_takes(uint64_t ns);

/* Nobody answers a SYN there; or there is nobody. */
bool sim_resolver_is_hole(const union url_sockaddr *addr);
bool sim_resolver_is_refused(const union url_sockaddr *addr);

#endif
