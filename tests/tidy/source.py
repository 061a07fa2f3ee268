# SPDX-License-Identifier: MIT OR Apache-2.0
"""The tree under inspection, and just enough C to inspect it."""

import os
import re
from dataclasses import dataclass
from functools import cached_property

CODE_DIRS = ("include", "src", "tests", "examples", "bench")
TEXT_DIRS = CODE_DIRS + ("cmake", "scripts", ".ci", "docs")
TEXT_SUFFIXES = (".c", ".h", ".cc", ".cmake", ".in", ".map", ".md", ".py", ".sh", ".txt")

# What a C file is made of, as far as these checks care.
TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)
      | (?P<literal>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    re.DOTALL | re.VERBOSE,
)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
CALLEE = re.compile(r"\b([A-Za-z_]\w*)\s*\(")


def blank(text):
    """Spaces in place of everything but line ends, so that offsets and lines stay."""
    return re.sub(r"[^\n]", " ", text)


@dataclass(frozen=True)
class Function:
    """A definition: its name, and the lines from the name to the closing brace."""

    name: str
    first_line: int
    last_line: int

    @property
    def length(self):
        return self.last_line - self.first_line + 1


@dataclass(frozen=True)
class Prototype:
    """A declaration at file scope, and the last comment before it."""

    name: str
    line: int
    text: str
    doc: str


class Source:
    """One file of C in four views, all with the same offsets."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.split("\n")

    @cached_property
    def no_comments(self):
        return TOKEN.sub(lambda m: blank(m[0]) if m["comment"] else m[0], self.text)

    @cached_property
    def code(self):
        """Without comments and the contents of literals; directives remain."""
        return TOKEN.sub(
            lambda m: blank(m[0]) if m["comment"] else m[0][0] + blank(m[0][1:-1]) + m[0][-1],
            self.text,
        )

    @cached_property
    def statements(self):
        """As code, without directives."""
        return DIRECTIVE.sub(lambda m: blank(m[0]), self.code)

    @cached_property
    def comments(self):
        return [
            (self.line_at(m.start()), m[0]) for m in TOKEN.finditer(self.text) if m["comment"]
        ]

    def line_at(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def calls(self):
        """(line, name) of all that looks like a call of a plain function."""
        for match in CALLEE.finditer(self.code):
            before = self.code[: match.start()].rstrip()
            if not before.endswith((".", "->")):
                yield self.line_at(match.start()), match[1]

    def includes(self):
        """(line, opening delimiter, header) of each #include."""
        for number, line in enumerate(self.no_comments.split("\n"), 1):
            match = re.match(r"\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", line)
            if match:
                yield number, match[1], match[2]

    def _top_level(self):
        """(start, end, opener) of each piece at file scope that ends with ; or { or }."""
        depth = 0
        start = 0
        linkage = []
        for match in re.finditer(r"[{};]", self.statements):
            char = match[0]
            if char == "{" and depth == 0:
                if re.search(r'extern\s*"\s*"\s*$', self.statements[start : match.start()]):
                    linkage.append(match.start())  # its inside is file scope, too
                    start = match.end()
                    continue
                yield start, match.start(), char
            if char == "}" and depth == 0 and linkage:
                linkage.pop()
                start = match.end()
            elif char == "{":
                depth += 1
            elif char == "}":
                depth -= 1
                if depth == 0:
                    yield start, match.start(), char
                    start = match.end()
            elif depth == 0:
                yield start, match.start(), char
                start = match.end()

    @staticmethod
    def _declarator(head):
        """Where the function's name stands in a declaration or the head of a definition."""
        for match in CALLEE.finditer(head):
            before = head[: match.start()]
            if match[1] == "__attribute__" or before.count("(") != before.count(")"):
                continue
            return match
        return None

    @cached_property
    def functions(self):
        found = []
        head = None
        for start, end, char in self._top_level():
            if char == "{":
                text = self.statements[start:end]
                name = self._declarator(text)
                head = None
                if name and text.rstrip().endswith(")") and "=" not in text[: name.start()]:
                    head = (name[1], self.line_at(start + name.start()))
            elif char == "}" and head:
                found.append(Function(head[0], head[1], self.line_at(end)))
                head = None
            elif char == ";":
                head = None
        return found

    @cached_property
    def prototypes(self):
        found = []
        for start, end, char in self._top_level():
            text = self.statements[start:end]
            if char != ";" or "{" in text or re.match(r"\s*(typedef|_Static_assert)\b", text):
                continue
            name = self._declarator(text)
            if not name or "=" in text:
                continue
            at = start + name.start()
            comments = [m[0] for m in TOKEN.finditer(self.text, start, at) if m["comment"]]
            words = text.replace("RL_BEGIN_DECLS", "").split()
            found.append(
                Prototype(
                    name[1], self.line_at(at), " ".join(words), comments[-1] if comments else ""
                )
            )
        return found


class Tree:
    """The files of a source tree: {path relative to the root: text}."""

    def __init__(self, files):
        self.files = files

    @classmethod
    def from_disk(cls, root):
        files = {}
        for name in sorted(os.listdir(root)):
            if os.path.isfile(os.path.join(root, name)) and cls._is_text(name):
                cls._read(files, root, name)
        for top in TEXT_DIRS:
            for folder, folders, names in os.walk(os.path.join(root, top)):
                folders.sort()
                folders[:] = [f for f in folders if f != "__pycache__"]
                for name in sorted(names):
                    path = os.path.relpath(os.path.join(folder, name), root)
                    if cls._is_text(path):
                        cls._read(files, root, path)
        return cls(files)

    @staticmethod
    def _is_text(path):
        """Also what has no suffix: scripts. Fuzzing corpora and other data are not text."""
        base = os.path.basename(path)
        if path.startswith(("scripts/", ".ci/", "bench/")) and "." not in base:
            return True
        return base.endswith(TEXT_SUFFIXES)

    @staticmethod
    def _read(files, root, path):
        try:
            with open(os.path.join(root, path), encoding="utf-8") as file:
                files[path] = file.read()
        except (UnicodeDecodeError, FileNotFoundError):
            pass  # a binary, or a dangling link: not text

    @cached_property
    def sources(self):
        """All C files."""
        return [
            Source(path, text)
            for path, text in self.files.items()
            if path.endswith((".c", ".h")) and path.split("/")[0] in CODE_DIRS
        ]

    def sources_in(self, *folders):
        return [s for s in self.sources if s.path.split("/")[0] in folders]

    @property
    def public_headers(self):
        return [s for s in self.sources if s.path.startswith("include/ringline/")]
