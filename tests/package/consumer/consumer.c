/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The smallest program that uses an installed ringline: prints the version of the header and that
 * of the library, and fails if they differ.
 */
#include <stdio.h>
#include <string.h>

#include <ringline/ringline.h>

int
main(void)
{
	printf("header %s library %s\n", RL_VERSION_STRING, rl_version());
	return strcmp(RL_VERSION_STRING, rl_version()) == 0 ? 0 : 1;
}
