#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A rule that cannot fail is worth nothing: each must report what is planted for it, and nothing in
a clean tree.

    selftest.py RULE...    the names under which ctest runs the rules
"""

import sys

import clang_tidy
import rules
import symbols
from source import Source, Tree

C = f"/* {rules.SPDX} */\n"
S = f"# {rules.SPDX}\n"

HEADER = f"""{C}#ifndef RINGLINE_RINGLINE_H
#define RINGLINE_RINGLINE_H
#include <stdint.h>
RL_BEGIN_DECLS
/**
 * Do it.
 *
 * Context:   any thread.
 * Returns:   0
 */
RL_EXPORT int rl_thing_do(struct rl_thing *thing, int (*fn)(void *arg));

typedef int (*rl_thing_fn)(void *arg);
RL_END_DECLS
#endif
"""

SLAB = f"""{C}#include "base/slab.h"

/* PATH-1 PATH-2 PATH-3 PATH-4 */
/* PATH-5 PATH-6 PATH-7 PATH-8: malloc( in a comment is no call */
__attribute__((noinline)) int
rli_slab_take(struct slab *slab)
{{
	return slab->free(slab, "malloc(1) /*", '"');
}}
"""

FENCE = f"""{C}#ifndef RING_FENCE_H
#define RING_FENCE_H
#define OPS(X) X(IORING_OP_ASYNC_CANCEL) /* X(IORING_OP_NOP) */
#define FLAGS (IOSQE_IO_LINK)
#endif
"""

CLEAN = {
    "CMakeLists.txt": S,
    "LICENSE-MIT": "free\n",
    "include/ringline/ringline.h": HEADER,
    "src/CMakeLists.txt": S + "set(H ringline.h)\nset(C base/slab.c base/host_linux.c)\n",
    "src/base/slab.h": C + "#ifndef RINGLINE_BASE_SLAB_H\n#define RINGLINE_BASE_SLAB_H\n#endif\n",
    "src/base/slab.c": SLAB,
    "src/base/host_linux.c": C + "int\nrli_host_x(void)\n{\n\treturn malloc(1) == NULL;\n}\n",
    "tests/tidy/unit_pairs.txt": "src/base/host_linux.c tests/integration/host.c # real\n",
    "tests/tidy/readline_exports.txt": "rl_bind_key\n",
    "tests/unit/CMakeLists.txt": S + "rl_test(unit slab)\n",
    "tests/unit/test_slab.c": C + "slab_a(void **state)\nslab_b(void **state)\n",
    "tests/integration/CMakeLists.txt": S + "rl_test(integration host TIMEOUT 3)\n",
    "tests/integration/host.c": C,
    "docs/guarantees.md": "| 1 | x | `unit.slab: slab_a`, `slab_b`; `sim.seeds`; sim INV-1 |\n",
    "scripts/test": "#!/usr/bin/env bash\n" + S,
}


def long_function(lines):
    return "int\nrli_long(void)\n{\n" + "\tx();\n" * (lines - 3) + "}\n"


# rule: [({path: text, None removes it}, [path:line that must be reported])]
PLANTED = {
    "starts_with_spdx": [
        ({"src/base/slab.c": "\n" + SLAB}, ["src/base/slab.c:1"]),
        ({"scripts/test": "#!/bin/sh\n"}, ["scripts/test:1"]),
        ({"tests/unit/CMakeLists.txt": "rl_test(unit slab)\n"}, ["tests/unit/CMakeLists.txt:1"]),
    ],
    "file_length": [
        ({"bench/a.c": C + "\n" * 599}, []),
        ({"bench/a.c": C + "\n" * 600}, ["bench/a.c:601"]),
    ],
    "function_length": [
        ({"examples/a.c": C + long_function(70)}, []),
        ({"examples/a.c": C + long_function(71)}, ["examples/a.c:3"]),
        (
            {"bench/a.c": C + 'extern "C" {\nint x;\n' + long_function(71) + "}\n"},
            ["bench/a.c:5"],
        ),
    ],
    "line_width": [
        ({"src/base/slab.h": CLEAN["src/base/slab.h"] + "\t" + "x" * 92 + "\n"}, []),
        (
            {"src/base/slab.h": CLEAN["src/base/slab.h"] + "\t" + "x" * 93 + "\n"},
            ["src/base/slab.h:5"],
        ),
    ],
    "whitespace": [
        ({"src/base/slab.c": SLAB + "int x; \n"}, ["src/base/slab.c:11"]),
        ({"src/base/slab.c": SLAB + "int x;"}, ["src/base/slab.c:11"]),
    ],
    "banned_calls": [
        ({"src/base/slab.c": SLAB + "int a = malloc(3);\n"}, ["src/base/slab.c:11"]),
        ({"src/base/slab.c": SLAB + "int a = clock_gettime (3);\n"}, ["src/base/slab.c:11"]),
        ({"src/net/conn.c": C + "int a = printf();\n"}, ["src/net/conn.c:2"]),
        ({"src/net/conn.c": C + "int a = setsockopt();\n"}, ["src/net/conn.c:2"]),
        ({"src/base/log.c": C + "int a = fprintf();\n"}, []),
        ({"src/base/log.c": C + "int a = assert(1);\n"}, ["src/base/log.c:2"]),
        ({"tests/sim/a.c": C + "int a = \\\nusleep(1);\n"}, ["tests/sim/a.c:3"]),
        ({"tests/unit/test_slab.c": C + "int a = skip();\n"}, ["tests/unit/test_slab.c:2"]),
        ({"bench/a.c": C + "int a = strcpy();\n"}, ["bench/a.c:2"]),
    ],
    "include_directions": [
        (
            {
                "src/net/conn.h": C,
                "src/actor/actor.h": C,
                "src/loop.h": C,
                "src/loop.c": C + '#include "net/conn.h"\n#include "loop.h"\n',
                "src/net/conn.c": C + '#include "conn.h"\n#include "actor/actor.h"\n',
            },
            [],
        ),
        (
            {
                "src/net/conn.h": C,
                "src/actor/actor.c": C + "#include <net/conn.h>\n#include \"net/conn.h\"\n",
            },
            ["src/actor/actor.c:3"],
        ),
        ({"src/loop.h": C, "src/net/conn.c": C + '#include "loop.h"\n'}, ["src/net/conn.c:2"]),
        ({"src/net/conn.c": C + '#include "gone.h"\n'}, ["src/net/conn.c:2"]),
        ({"src/util/a.c": C}, ["src/util/a.c:1"]),
    ],
    "own_header_first": [
        (
            {"src/base/slab.c": C + '#include <stdint.h>\n#include "base/slab.h"\n'},
            ["src/base/slab.c:2"],
        ),
    ],
    "ck_in_one_place": [
        (
            {
                "src/mailbox/inbox.c": C + "#include <ck_ring.h>\n",
                "src/mailbox/inbox.h": C + "#include <ck_ring.h>\n",
            },
            [],
        ),
        (
            {
                "src/mailbox/inbox.c": C + "#include <ck_ring.h>\n",
                "src/mailbox/mailbox.c": C + "\n#include <ck_pr.h>\n",
            },
            ["src/mailbox/mailbox.c:3"],
        ),
        ({"src/shard/sleep.c": C + "#include <ck_pr.h>\n"}, ["src/shard/sleep.c:2"]),
    ],
    "uring_in_one_place": [
        ({"src/shard/op.c": C + "int a = io_uring_prep_recv(x);\n"}, []),
        ({"src/shard/ring_uring.c": C + "int a = io_uring_get_sqe(x);\n"}, []),
        ({"src/shard/op.c": C + "int a = io_uring_get_sqe(x);\n"}, ["src/shard/op.c:2"]),
        ({"src/shard/op.c": C + "int a = io_uring_submit_and_wait(x);\n"}, ["src/shard/op.c:2"]),
        ({"src/shard/op.c": C + "int a = io_uring_buf_ring_add(x);\n"}, ["src/shard/op.c:2"]),
    ],
    "ring_fence": [
        (
            {
                "src/shard/ring_fence.h": FENCE,
                "src/shard/op.c": C + "int a = io_uring_prep_cancel64(x) | IOSQE_IO_LINK;\n",
            },
            [],
        ),
        (
            {
                "src/shard/ring_fence.h": FENCE,
                "src/shard/op.c": C
                + "int a = io_uring_prep_cancel(x);\nint b = io_uring_prep_openat(IOSQE_ASYNC);\n",
            },
            ["src/shard/op.c:3", "src/shard/ring_fence.h:1"],
        ),
    ],
    "openssl_in_one_place": [
        ({"src/tls/tls_session.c": C + "#include <openssl/ssl.h>\n"}, []),
        ({"src/tls/tls_session.h": C + "#include <openssl/ssl.h>\n"}, ["src/tls/tls_session.h:2"]),
        ({"src/net/conn.c": C + "#include <openssl/ssl.h>\n"}, ["src/net/conn.c:2"]),
    ],
    "public_includes": [
        (
            {"include/ringline/ringline.h": HEADER.replace("<stdint.h>", "<liburing.h>")},
            ["include/ringline/ringline.h:4"],
        ),
        (
            {"include/ringline/ringline.h": HEADER.replace("<stdint.h>", '"types.h"')},
            ["include/ringline/ringline.h:4"],
        ),
    ],
    "doc_fields": [
        (
            {"include/ringline/ringline.h": HEADER.replace("Context:", "Contest:")},
            ["include/ringline/ringline.h:12"],
        ),
        (
            {"include/ringline/ringline.h": HEADER.replace("Returns:", "Return:")},
            ["include/ringline/ringline.h:12"],
        ),
        (
            {"include/ringline/ringline.h": HEADER.replace("/**", "/*")},
            ["include/ringline/ringline.h:12"],
        ),
    ],
    "exports_are_marked": [
        (
            {"include/ringline/ringline.h": HEADER.replace("RL_EXPORT ", "")},
            ["include/ringline/ringline.h:12"],
        ),
        (
            {"include/ringline/ringline.h": HEADER.replace("rl_thing_do", "thing_do")},
            ["include/ringline/ringline.h:12"],
        ),
    ],
    "header_guards": [
        ({"src/base/slab.h": C}, ["src/base/slab.h:1"]),
        (
            {"src/base/slab.h": CLEAN["src/base/slab.h"].replace("BASE_SLAB", "RINGLINE")},
            ["src/base/slab.h:2"],
        ),
        (
            {"include/ringline/ringline.h": HEADER.replace("RINGLINE_RINGLINE", "RINGLINE")},
            ["include/ringline/ringline.h:2"],
        ),
    ],
    "unit_pairs": [
        (
            {"tests/unit/test_slab.c": None},
            ["src/base/slab.c:1"],
        ),
        (
            {"tests/unit/test_gone.c": C},
            ["tests/unit/test_gone.c:1"],
        ),
        (
            {"tests/integration/host.c": None},
            ["tests/tidy/unit_pairs.txt:1"],
        ),
        (
            {"tests/tidy/unit_pairs.txt": "\nsrc/base/host_linux.c\n"},
            ["tests/tidy/unit_pairs.txt:2", "src/base/host_linux.c:1"],
        ),
        (
            {"tests/unit/test_host_linux.c": C},
            ["tests/tidy/unit_pairs.txt:1"],
        ),
        ({"src/net/slab.c": C}, ["src/net/slab.c:1"]),
        # a header's test needs no source, but the header
        ({"src/base/list.h": C, "tests/unit/test_list.c": C}, []),
        ({"include/list.h": C, "tests/unit/test_list.c": C}, ["tests/unit/test_list.c:1"]),
    ],
    "all_files_are_built": [
        ({"src/base/list.c": C}, ["src/base/list.c:1"]),
        ({"src/slab.c": C}, ["src/slab.c:1"]),
        ({"include/ringline/new.h": C}, ["include/ringline/new.h:1"]),
        ({"tests/unit/test_slabs.c": C}, ["tests/unit/test_slabs.c:1"]),
        ({"tests/unit/CMakeLists.txt": "# rl_test(unit slab)\n"}, ["tests/unit/test_slab.c:1"]),
        (
            {"examples/CMakeLists.txt": "rl_example(echo)\n", "examples/echo.c": C},
            [],
        ),
        (
            {"examples/CMakeLists.txt": "rl_example(echo)\n", "examples/echo_tls.c": C},
            ["examples/echo_tls.c:1"],
        ),
    ],
    "path_markers": [
        ({"src/base/slab.c": SLAB.replace("PATH-5", "")}, ["src:1"]),
        ({"src/base/slab.c": SLAB + "/* PATH-5 */\n"}, ["src/base/slab.c:11"]),
        ({"src/base/slab.c": SLAB + "/* PATH-9 */\n"}, ["src/base/slab.c:11"]),
    ],
    "guarantees_have_tests": [
        ({"tests/unit/test_slab.c": C + "slab_a(void **state)\n"}, ["docs/guarantees.md:1"]),
        ({"docs/guarantees.md": "\n`sim.slab: slab_a`\n"}, ["docs/guarantees.md:2"]),
        ({"docs/guarantees.md": "\n`unit.slab: slab_a`\n"}, []),
    ],
    "limits_are_listed": [
        (
            {"include/ringline/x.h": C + "struct rl_config {\n\tuint32_t most;\n\tint x;\n};\n"},
            ["include/ringline/x.h:2"],
        ),
        (
            {
                "include/ringline/x.h": C + "struct rl_stats {\n\tuint64_t seen;\n};\n",
                "docs/limits.md": "| a | counter |\n|---|---|\n| x | `seen` |\n| y | `lost` |\n",
            },
            ["docs/limits.md:4"],
        ),
    ],
    "no_leftovers": [
        ({"scripts/test": "#!/bin/sh\n" + S + "# TO" + "DO\n"}, ["scripts/test:3"]),
        ({"src/base/slab.c": SLAB + "/* FIX" + "ME later */\n"}, ["src/base/slab.c:11"]),
    ],
    "no_ifdef_in_functions": [
        (
            {"src/base/slab.c": SLAB + "#ifdef A\n#endif\nint\nf(void)\n{\n#ifdef A\n#endif\n}\n"},
            ["src/base/slab.c:16"],
        ),
    ],
    "cmake_hygiene": [
        ({"CMakeLists.txt": S + "file(GLOB x *.c)\n"}, ["CMakeLists.txt:2"]),
        ({"CMakeLists.txt": S + "target_x()\nadd_compile_options(-O3)\n"}, ["CMakeLists.txt:3"]),
    ],
}

NM_EXPORTS = "0000000000001139 T rl_thing_do@@RINGLINE_0.1\n0000000000000000 A RINGLINE_0.1\n"
NM_UNDEFINED = "\nslab.c.o:\n                 U rli_host_now_ns\n                 U memcpy@GLIBC_2.2.5\n"

READELF = """  Type:                              DYN (Shared object file)
  GNU_STACK      0x000000 0x0000000000000000 0x0000000000000000 0x000000 0x000000 RW  0x10
  GNU_RELRO      0x002e08 0x0000000000003e08 0x0000000000003e08 0x0001f8 0x0001f8 R   0x1
 0x000000000000001e (FLAGS)              BIND_NOW
     5: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND __stack_chk_fail@GLIBC_2.4 (3)
"""

# rule: (what nm or readelf says of a clean library, [(what it says of a bad one, part of the complaint)])
PLANTED_SYMBOLS = {
    "exports": (
        NM_EXPORTS,
        [
            ("", "nothing is exported"),
            (NM_EXPORTS + "0000000000001149 T rli_slab_take\n", "no header declares it"),
            (NM_EXPORTS.replace("thing_do", "thing_did"), "rl_thing_do is declared"),
        ],
    ),
    "readline_names": (
        NM_EXPORTS,
        [(NM_EXPORTS + "0000000000001149 T rl_bind_key@@RINGLINE_0.1\n", "rl_bind_key is also")],
    ),
    "prefixes": (
        NM_EXPORTS,
        [("", "no rl_ symbol"), (NM_EXPORTS + "0000000000000010 D table\n", "table has")],
    ),
    "seams": (
        NM_UNDEFINED,
        [
            ("", "not the core"),
            (NM_UNDEFINED + "                 U malloc@GLIBC_2.2.5\n", "malloc is called"),
            (NM_UNDEFINED + "                 U io_uring_submit\n", "io_uring_submit is called"),
        ],
    ),
    "hardened": (
        READELF,
        [
            (READELF.replace("DYN (Shared", "EXEC (Exec"), "not position-independent"),
            (READELF.replace("GNU_RELRO", "LOAD     "), "no RELRO"),
            (READELF.replace("BIND_NOW", "TEXTREL"), "bound lazily"),
            (READELF.replace(" RW ", " RWE"), "executable"),
            (READELF.replace("__stack_chk_fail", "abort"), "no stack protector"),
        ],
    ),
}


def complaints(name, overlay):
    files = {**CLEAN, **overlay}
    tree = Tree({path: text for path, text in files.items() if text is not None})
    return sorted({f"{path}:{line}" for path, line, _ in rules.RULES[name](tree)})


def check_rules(expect):
    for name in rules.RULES:
        expect(complaints(name, {}) == [], f"{name} finds fault with the clean tree: {complaints(name, {})}")
        planted = PLANTED.get(name, [])
        expect(any(wanted for _, wanted in planted), f"nothing is planted for {name}")
        for overlay, wanted in planted:
            got = complaints(name, overlay)
            expect(got == sorted(wanted), f"{name} on {list(overlay)}: expected {wanted}, got {got}")


def check_symbols(expect):
    clean = Tree(CLEAN)
    for name, (rule, _) in symbols.RULES.items():
        good, bad = PLANTED_SYMBOLS[name]
        errors = list(rule(clean, good))
        expect(not errors, f"{name} finds fault with the clean library: {errors}")
        for output, wanted in bad:
            errors = list(rule(clean, output))
            expect(any(wanted in e for e in errors), f"{name}: expected {wanted!r}, got {errors}")


CLANG_TIDY = """/r/src/a.c:3:1: error: no header providing "NULL" is directly included [misc-include-cleaner]
    3 | x
/r/src/a.c:4:1: error: function 'f' is recursive [misc-no-recursion,-warnings-as-errors]
/r/src/a.c:9:2: note: example recursive call
741 warnings generated.
"""


def check_clang_tidy(expect):
    found = clang_tidy.findings(CLANG_TIDY)
    expect(len(found) == 1 and "recursive call" in found[0], f"clang_tidy.findings: {found}")


def check_parser(expect):
    names = [f.name for f in Source("src/base/slab.c", SLAB).functions]
    expect(names == ["rli_slab_take"], f"functions of the clean file: {names}")
    names = [p.name for p in Source("include/ringline/ringline.h", HEADER).prototypes]
    expect(names == ["rl_thing_do"], f"prototypes of the clean header: {names}")


def main():
    failures = []

    def expect(condition, what):
        if not condition:
            failures.append(what)

    check_parser(expect)
    check_clang_tidy(expect)
    check_rules(expect)
    check_symbols(expect)
    for name in {*rules.RULES, *symbols.RULES} ^ set(sys.argv[1:]):
        expect(False, f"{name} is a rule or a test, but not both")
    print("\n".join(failures) or f"{len(rules.RULES) + len(symbols.RULES)} rules bite")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
