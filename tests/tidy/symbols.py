#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The rules that need what was built: what the libraries export and ask for, how they are linked.

    symbols.py RULE ROOT FILE
"""

import os
import re
import subprocess
import sys

from source import Tree

# What a file of src/ outside the seams must get from nobody: a grep can be fooled by a macro.
OUTSIDE = re.compile(
    r"^(io_uring_\w+|malloc|calloc|realloc|reallocarray|free|posix_memalign|aligned_alloc"
    r"|mmap|munmap|mprotect|madvise|clock_gettime|gettimeofday|time|getrandom|random|rand"
    r"|socket|bind|listen|accept4?|connect|getaddrinfo|send|sendto|sendmsg|recv|recvfrom|recvmsg"
    r"|setsockopt|getsockopt|syscall|nanosleep|usleep|sleep)$"
)


def symbols(nm_output):
    """(type, name without version) of each line of nm."""
    for line in nm_output.split("\n"):
        match = re.match(r"^(?:[0-9a-fA-F]+\s+|\s*)([A-Za-z])\s+(\S+)$", line)
        if match:
            yield match[1], match[2].split("@")[0]


def declared(tree):
    names = {p.name for source in tree.public_headers for p in source.prototypes}
    for source in tree.public_headers:
        names.update(re.findall(r"^extern RL_EXPORT const struct \w+ (\w+);", source.code, re.M))
    return names


def exports(tree, nm_output):
    """libringline.so exports what the headers declare, and nothing else."""
    exported = {name for kind, name in symbols(nm_output) if kind not in "Uw"}
    exported = {name for name in exported if not name.startswith("RINGLINE_")}
    if not exported:
        yield "nothing is exported"
    for name in sorted(exported - declared(tree)):
        yield f"{name} is exported, but no header declares it"
    for name in sorted(declared(tree) - exported):
        yield f"{name} is declared, but not exported"


def readline_names(tree, nm_output):
    """None of our exports is one of GNU readline's, which start with rl_, too."""
    theirs = set(tree.files["tests/tidy/readline_exports.txt"].split())
    if "rl_bind_key" not in theirs:
        yield "tests/tidy/readline_exports.txt is not a list of readline's exports"
    ours = {name for kind, name in symbols(nm_output) if kind not in "Uw"} | declared(tree)
    for name in sorted(ours & theirs):
        yield f"{name} is also exported by GNU readline"


def prefixes(_tree, nm_output):
    """In libringline.a, what has external linkage starts with rl_ or rli_."""
    names = {name for kind, name in symbols(nm_output) if kind in "TDBRCVW"}
    names = {n for n in names if not n.startswith(("__asan", "__odr_asan", "__tsan", "__gcov"))}
    if not any(name.startswith("rl_") for name in names):
        yield "no rl_ symbol is defined"
    for name in sorted(names):
        if not name.startswith(("rl_", "rli_")):
            yield f"{name} has external linkage, but neither rl_ nor rli_ in front"


def seams(_tree, nm_output):
    """libringline_core.a, which is src/ without the seams, asks for none of what they hide."""
    wanted = {name for kind, name in symbols(nm_output) if kind == "U"}
    if not any(name.startswith("rli_host_") for name in wanted):
        yield "nobody asks for rli_host_*: this is not the core"
    for name in sorted(wanted):
        if OUTSIDE.match(name):
            yield f"{name} is called outside the seams"


def hardened(_tree, readelf_output):
    """A library or program is position-independent, and what need not be writable is not."""
    for pattern, what in (
        (r"^\s*Type:\s+DYN ", "not position-independent"),
        (r"^\s*GNU_RELRO\s", "no RELRO"),
        (r"\(FLAGS\)\s.*\bBIND_NOW\b|\(BIND_NOW\)", "symbols are bound lazily"),
        (r"^\s*GNU_STACK\s.*\sRW\s", "the stack is executable"),
        (r"__stack_chk_fail", "no stack protector"),
    ):
        if not re.search(pattern, readelf_output, re.MULTILINE):
            yield what


# The rule, and the command that shows what it wants to see of the file.
RULES = {
    "exports": (exports, ["nm", "-D", "--defined-only"]),
    "readline_names": (readline_names, ["nm", "-D", "--defined-only"]),
    "prefixes": (prefixes, ["nm", "-g", "--defined-only"]),
    "seams": (seams, ["nm", "-g", "--undefined-only"]),
    "hardened": (hardened, ["readelf", "-W", "-h", "-l", "-d", "--dyn-syms"]),
}


def main():
    name, root, path = sys.argv[1:]
    rule, command = RULES[name]
    shown = subprocess.run([*command, path], check=True, capture_output=True, text=True)
    errors = list(rule(Tree.from_disk(root), shown.stdout))
    for error in errors:
        print(f"{os.path.basename(path)}: {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
