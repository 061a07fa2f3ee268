/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * As consumer.c, in C++: the public headers are valid there, and have C linkage. An actor is defined
 * to see that its types are usable.
 */
#include <cstdio>
#include <cstring>

#include <ringline/ringline.h>

static int
quiet_receive(struct rl_actor *, const struct rl_msg *)
{
	return RL_ACTOR_UNHANDLED;
}

int
main()
{
	rl_actor_def def = {};

	def.name = "quiet";
	def.receive = quiet_receive;
	std::printf("header %s library %s\n", RL_VERSION_STRING, rl_version());
	return def.receive != nullptr && std::strcmp(RL_VERSION_STRING, rl_version()) == 0 ? 0 : 1;
}
