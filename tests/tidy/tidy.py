#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Check the tree against the rules of rules.py.

    tidy.py ROOT [RULE...]    all rules by default; prints path:line: what is wrong
    tidy.py --list
"""

import sys

from rules import RULES
from source import Tree


def main():
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        print("\n".join(RULES))
        return 0
    if not arguments or any(name not in RULES for name in arguments[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    tree = Tree.from_disk(arguments[0])
    if not tree.sources:
        print(f"{arguments[0]}: there is no C file to check", file=sys.stderr)
        return 1
    errors = 0
    for name in arguments[1:] or RULES:
        for path, line, what in RULES[name](tree):
            print(f"{path}:{line}: {what} [{name}]")
            errors += 1
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
