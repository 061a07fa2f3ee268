# SPDX-License-Identifier: MIT OR Apache-2.0
"""The rules that can be checked by reading. Each yields (path, line, what is wrong)."""

import os
import re

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100
TAB = 8

SPDX = "SPDX-License-Identifier: MIT OR Apache-2.0"
SPDX_SUFFIXES = (".c", ".h", ".cc", ".cmake", ".map", ".py", ".sh", "CMakeLists.txt")

# Modules from left to right: a file includes headers of its own module or of modules to its left.
MODULES = ("base", "mailbox", "shard", "actor", "tls", "net", "")
SEAMS = ("src/base/host_linux.c", "src/shard/ring_uring.c", "src/net/sys_linux.c")
HOST, RING, SYS = SEAMS
LOG = "src/base/log.c"

# (functions, folders, files that may, why not)
BANNED = (
    (
        "malloc calloc realloc reallocarray free posix_memalign aligned_alloc memalign strdup strndup"
        " asprintf vasprintf mmap munmap mprotect madvise mlock",
        ("src",),
        (HOST,),
        "memory comes from host.h",
    ),
    (
        "gettimeofday time clock clock_gettime timespec_get random rand rand_r srand srandom drand48"
        " getrandom getentropy",
        ("src",),
        (HOST,),
        "time and random numbers come from host.h",
    ),
    (
        "sleep usleep nanosleep clock_nanosleep sched_yield",
        ("src", "tests", "examples"),
        (),
        "wait on a condition with a deadline",
    ),
    (
        "printf fprintf dprintf vprintf vfprintf vdprintf puts fputs putchar putc perror fwrite",
        ("src",),
        (LOG,),
        "speak through rli_log()",
    ),
    (
        "socket bind listen accept accept4 connect getaddrinfo getsockname getpeername setsockopt"
        " getsockopt send sendto sendmsg recv recvfrom recvmsg epoll_create1 syscall",
        ("src",),
        SEAMS,
        "the kernel is behind the seams",
    ),
    (
        "alloca strcpy strcat strncpy sprintf vsprintf gets strtok atoi atol atoll scanf sscanf"
        " tmpnam mktemp",
        ("src", "include", "tests", "examples", "bench"),
        (),
        "there is a safe one",
    ),
    (
        "assert fork vfork system popen exit _exit setjmp longjmp",
        ("src",),
        (),
        "a library does not do that (RL_ASSERT asserts)",
    ),
    (
        "skip",
        ("tests",),
        (),
        "cmocka counts a skipped case as a success: exit with 77, and say why",
    ),
)

URING_PURE = re.compile(r"io_uring_(prep_\w+|sqe_set_\w+|cqe_get_data\w*|smp_\w+)$")
DEPENDENCIES = re.compile(r"(liburing\b|linux/|ck_|openssl/|cmocka)")
MARKERS = range(1, 9)


def starts_with_spdx(tree):
    for path, text in tree.files.items():
        lines = text.split("\n", 2)
        if path.endswith((".c", ".h", ".map")):
            if lines[0] != f"/* {SPDX} */":
                yield path, 1, f"the first line is not /* {SPDX} */"
        elif path.endswith(SPDX_SUFFIXES) or "." not in os.path.basename(path):
            if path.startswith("LICENSE"):
                continue
            first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
            if SPDX not in first:
                yield path, 1, f"the first line (after #!) does not say {SPDX}"


def file_length(tree):
    for source in tree.sources:
        count = source.text.count("\n")
        if count > FILE_LINES_MAX:
            yield source.path, count, f"{count} lines, {FILE_LINES_MAX} are allowed"


def function_length(tree):
    for source in tree.sources:
        for function in source.functions:
            if function.length > FUNCTION_LINES_MAX:
                yield (
                    source.path,
                    function.first_line,
                    f"{function.name} has {function.length} lines, {FUNCTION_LINES_MAX} are allowed",
                )


def line_width(tree):
    for source in tree.sources:
        for number, line in enumerate(source.lines, 1):
            width = len(line.expandtabs(TAB))
            if width > COLUMNS_MAX:
                yield source.path, number, f"{width} columns, {COLUMNS_MAX} are allowed"


def whitespace(tree):
    for path, text in tree.files.items():
        if text and not text.endswith("\n"):
            yield path, text.count("\n") + 1, "the last line has no end"
        for number, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip() and not path.endswith(".md"):
                yield path, number, "white space at the end of the line"


def banned_calls(tree):
    for names, folders, allowed, why in BANNED:
        banned = set(names.split())
        for source in tree.sources_in(*folders):
            if source.path in allowed:
                continue
            for line, name in source.calls():
                if name in banned:
                    yield source.path, line, f"{name}(): {why}"


def include_directions(tree):
    known = set(tree.files)
    for source in tree.sources_in("src"):
        folder = os.path.dirname(source.path)
        module = os.path.dirname(source.path[len("src/") :])
        if module not in MODULES:
            yield source.path, 1, f"src/{module} is no module"
            continue
        for line, opener, header in source.includes():
            if opener != '"':
                continue
            near = os.path.normpath(f"{folder}/{header}")
            path = near if near in known else os.path.normpath(f"src/{header}")
            if path not in known:
                yield source.path, line, f"there is no {header} in src"
                continue
            other = os.path.dirname(path[len("src/") :])
            if other not in MODULES or MODULES.index(other) > MODULES.index(module):
                yield (
                    source.path,
                    line,
                    f"{module or 'the root'} must not know {header} of {other or 'the root'}",
                )


def own_header_first(tree):
    known = set(tree.files)
    for source in tree.sources_in("src"):
        header = source.path[:-2] + ".h"
        includes = list(source.includes())
        if source.path.endswith(".c") and header in known and includes:
            line, _, first = includes[0]
            if first not in (header[len("src/") :], os.path.basename(header)):
                yield source.path, line, f"the first include is not its own {header}"


def ck_in_one_place(tree):
    places = {}
    for source in tree.sources_in("src", "include", "examples"):
        for line, _, header in source.includes():
            if header.startswith("ck_"):
                places.setdefault(source.path, line)
    home = sorted(p for p in places if p.startswith("src/mailbox/"))
    stems = sorted({p[:-2] for p in home})
    for path, line in places.items():
        if path not in home:
            yield path, line, "ck is included in src/mailbox/ only"
        elif path[:-2] != stems[0]:
            yield path, line, f"ck is included in {stems[0]} only"


def uring_in_one_place(tree):
    for source in tree.sources_in("src", "include", "examples"):
        if source.path == RING:
            continue
        for line, name in source.calls():
            if name.startswith("io_uring_") and not URING_PURE.match(name):
                yield source.path, line, f"{name}() belongs to {RING}"


def openssl_in_one_place(tree):
    for source in tree.sources_in("src", "include", "examples"):
        if source.path.startswith("src/tls/") and source.path.endswith(".c"):
            continue
        if source.path == "examples/support/self_signed.c":
            continue
        for line, _, header in source.includes():
            if header.startswith("openssl/"):
                yield source.path, line, "OpenSSL is included by the files of src/tls/ only (and makes an example's certificate)"


# What each preparing function submits, where the name does not say it.
URING_PREPARES = {
    "cancel64": "ASYNC_CANCEL",
    "cancel": "ASYNC_CANCEL",
    "accept_direct": "ACCEPT",
    "multishot_accept": "ACCEPT",
    "close_direct": "CLOSE",
    "recv_multishot": "RECV",
}
FENCE = "src/shard/ring_fence.h"


def ring_fence(tree):
    """The ring's allow list is what src/ prepares: nothing is refused, nothing is too much."""
    text = tree.files.get(FENCE, "")
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    listed = set(re.findall(r"X\(IORING_OP_(\w+)\)", code)) | set(re.findall(r"\bIOSQE_\w+", code))
    used = {}
    for source in tree.sources_in("src"):
        if source.path == FENCE:
            continue
        for line, name in source.calls():
            if name.startswith("io_uring_prep_"):
                name = name[len("io_uring_prep_") :]
                used.setdefault(URING_PREPARES.get(name, name.upper()), (source.path, line))
        for number, line in enumerate(source.code.split("\n"), 1):
            if "MUTANT" in line:
                continue
            for name in re.findall(r"\bIOSQE_\w+|\bIORING_OP_\w+", line):
                used.setdefault(name.removeprefix("IORING_OP_"), (source.path, number))
    for name, place in used.items():
        if name not in listed:
            yield (*place, f"{name} is not in {FENCE}: the ring would refuse it")
    for name in sorted(listed - set(used)):
        yield FENCE, 1, f"{name} is let through, and nothing in src/ needs it"


def public_includes(tree):
    for source in tree.public_headers:
        for line, opener, header in source.includes():
            if DEPENDENCIES.match(header):
                yield source.path, line, f"a public header must not include {header}"
            elif opener == '"':
                yield source.path, line, f'"{header}": public headers include with <>'


def doc_fields(tree):
    for source in tree.public_headers:
        for prototype in source.prototypes:
            if not prototype.doc.startswith("/**"):
                yield source.path, prototype.line, f"{prototype.name} has no doc comment"
                continue
            for field in ("Context:", "Returns:"):
                if not re.search(rf"^ \* {field}", prototype.doc, re.MULTILINE):
                    yield source.path, prototype.line, f"{prototype.name}: no field {field}"


def exports_are_marked(tree):
    for source in tree.public_headers:
        for prototype in source.prototypes:
            if not prototype.text.startswith("RL_EXPORT "):
                yield source.path, prototype.line, f"{prototype.name} is not RL_EXPORT"
            if not prototype.name.startswith("rl_"):
                yield source.path, prototype.line, f"{prototype.name} does not start with rl_"


def header_guards(tree):
    owners = {}
    for source in tree.sources:
        if not source.path.endswith(".h"):
            continue
        match = re.search(r"^#ifndef (\w+)\n#define \1$", source.no_comments, re.MULTILINE)
        if not match:
            yield source.path, 1, "no include guard"
            continue
        guard = match[1]
        line = source.line_at(match.start())
        if guard in owners:
            yield source.path, line, f"{owners[guard]} has the same guard {guard}"
        owners[guard] = source.path
        if source.path.startswith("include/ringline/"):
            stem = os.path.basename(source.path)[:-2].upper()
            if guard != f"RINGLINE_{stem}_H":
                yield source.path, line, f"the guard is not RINGLINE_{stem}_H"


def unit_pairs(tree):
    """Allowed exceptions: lines `src/file.c  test that covers it instead`."""
    listed = "tests/tidy/unit_pairs.txt"
    elsewhere = {}
    for number, line in enumerate(tree.files.get(listed, "").split("\n"), 1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        if len(fields) != 2:
            yield listed, number, "a line is: source, and the test that covers it"
            continue
        source, test = fields
        elsewhere[source] = test
        if source not in tree.files:
            yield listed, number, f"there is no {source}"
        if test not in tree.files:
            yield listed, number, f"there is no {test}"
    stems = {}
    for source in tree.sources_in("src"):
        if not source.path.endswith(".c"):
            continue
        stem = os.path.basename(source.path)[:-2]
        if stem in stems:
            yield source.path, 1, f"{stems[stem]} has the same name: their tests would, too"
        stems[stem] = source.path
        test = f"tests/unit/test_{stem}.c"
        if test not in tree.files and source.path not in elsewhere:
            yield source.path, 1, f"there is no {test}"
        elif test in tree.files and source.path in elsewhere:
            yield listed, 1, f"{source.path} has {test}: no exception is needed"
    # A header with inline code may have a test of its own; it need not.
    headers = {os.path.basename(p)[:-2] for p in tree.files if re.match(r"src/.*\.h$", p)}
    for path in tree.files:
        match = re.match(r"tests/unit/test_(\w+)\.c$", path)
        if match and match[1] not in stems and match[1] not in headers:
            yield path, 1, f"there is no src/*/{match[1]}.c or .h that it tests"


def all_files_are_built(tree):
    """What no CMakeLists.txt names is not built, and what is not built is not tested."""
    for path in tree.files:
        parts = path.split("/")
        if path.startswith("tests/package/") or not path.endswith((".c", ".h")):
            continue
        if parts[0] == "include" and path.endswith(".h"):
            lists, name = "src/CMakeLists.txt", parts[-1]
        elif parts[0] == "src" and path.endswith(".c"):
            lists, name = "src/CMakeLists.txt", "/".join(parts[1:])
        elif parts[0] in ("examples", "bench", "tests") and path.endswith(".c"):
            depth = 2 if parts[0] == "tests" and len(parts) > 2 else 1
            lists, name = "/".join(parts[:depth]) + "/CMakeLists.txt", "/".join(parts[depth:])
        else:
            continue
        stem = re.sub(r"^test_", "", name[:-2])
        text = re.sub(r"#[^\n]*", "", tree.files.get(lists, ""))
        declared = rf"(?<![\w/]){re.escape(name)}(?![\w.])|rl_(test\(\w+|example\(|bench\()\s*{re.escape(stem)}\b"
        if not re.search(declared, text):
            yield path, 1, f"{lists} does not name it"


def path_markers(tree):
    seen = {}
    for source in tree.sources_in("src"):
        for number, line in enumerate(source.lines, 1):
            for marker in re.findall(r"PATH-(\d+)", line):
                seen.setdefault(int(marker), []).append((source.path, number))
    for marker in MARKERS:
        if marker not in seen:
            yield "src", 1, f"PATH-{marker} stands nowhere"
    for marker, places in seen.items():
        if marker not in MARKERS:
            yield (*places[0], f"PATH-{marker}: there are {MARKERS[-1]}")
        for path, line in places[1:]:
            yield path, line, f"PATH-{marker} stands in {places[0][0]}:{places[0][1]} already"


def guarantees_have_tests(tree):
    """Each case that docs/guarantees.md names is in a source file of that layer's tests."""
    path = "docs/guarantees.md"
    cases = {}
    for test, text in tree.files.items():
        if test.startswith("tests/") and test.endswith(".c"):
            names = re.findall(r"^(\w+)\(void \*\*state\)", text, re.MULTILINE)
            cases.setdefault(test.split("/")[1], set()).update(names)
    for number, line in enumerate(tree.files.get(path, "").split("\n"), 1):
        for layer, name, first, more in re.findall(
            r"`(\w+)\.(\w+): (\w+)`((?:, `\w+`)*)", line
        ):
            for case in (first, *re.findall(r"\w+", more)):
                if case not in cases.get(layer, ()):
                    yield path, number, f"{layer}.{name} has no case {case}"


# Numbers by which a program describes itself, not the runtime's bounds.
NO_LIMITS = {"struct_size", "children_count", "without"}


def limits_are_listed(tree):
    """Each number of a public configuration is in docs/limits.md, and so is a real counter there."""
    path = "docs/limits.md"
    text = tree.files.get(path, "")
    listed = set(re.findall(r"`(\w+)`", text))
    fields = set()
    for source in tree.public_headers:
        for match in re.finditer(r"^struct (\w+) \{(.*?)^\};", source.no_comments, re.M | re.S):
            members = set(re.findall(r"\b(\w+)(?:\[\w+\])?;", match[2]))
            if match[1] in ("rl_stats", "rl_stats_undelivered"):
                fields |= members
            if not re.search(r"_(config|options|def)$", match[1]):
                continue
            for name in re.findall(r"^\t(?:u?int\d+_t|size_t) (\w+);", match[2], re.M):
                if name not in listed | NO_LIMITS:
                    line = source.line_at(match.start())
                    yield source.path, line, f"{match[1]}.{name} is not in {path}"
    counted = False
    for number, line in enumerate(text.split("\n"), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or set(line) <= set("|-"):
            counted = counted and line.startswith("|")
            continue
        counted = cells[-1] == "counter" or counted
        for name in re.findall(r"`(\w+)", cells[-1]) if counted else ():
            if name not in fields:
                yield path, number, f"there is no counter {name}"


def no_leftovers(tree):
    words = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
    for path, text in tree.files.items():
        for number, line in enumerate(text.split("\n"), 1):
            match = words.search(line)
            if match:
                yield path, number, f"{match[1]} is left behind"


def no_ifdef_in_functions(tree):
    for source in tree.sources_in("src", "examples"):
        inside = set()
        for function in source.functions:
            inside.update(range(function.first_line, function.last_line + 1))
        for number, line in enumerate(source.code.split("\n"), 1):
            if number in inside and re.match(r"\s*#\s*(if|ifdef|ifndef|elif|else)\b", line):
                yield source.path, number, "a condition of the preprocessor inside a function"


def cmake_hygiene(tree):
    bad = re.compile(
        r"^\s*(file\(GLOB\w*|include_directories\(|link_libraries\(|link_directories\(|"
        r"add_compile_options\(|add_link_options\(|add_definitions\(|add_compile_definitions\(|"
        r"set\(CMAKE_C_FLAGS\w*|set\(CMAKE_\w+_LINKER_FLAGS\w*)"
    )
    for path, text in tree.files.items():
        if path.endswith(("CMakeLists.txt", ".cmake")):
            for number, line in enumerate(text.split("\n"), 1):
                match = bad.match(line)
                if match:
                    yield path, number, f"{match[1]}: name the files, and set flags by target"


RULES = {
    rule.__name__: rule
    for rule in (
        starts_with_spdx,
        file_length,
        function_length,
        line_width,
        whitespace,
        banned_calls,
        include_directions,
        own_header_first,
        ck_in_one_place,
        uring_in_one_place,
        ring_fence,
        openssl_in_one_place,
        public_includes,
        doc_fields,
        exports_are_marked,
        header_guards,
        unit_pairs,
        all_files_are_built,
        path_markers,
        guarantees_have_tests,
        limits_are_listed,
        no_leftovers,
        no_ifdef_in_functions,
        cmake_hygiene,
    )
}
