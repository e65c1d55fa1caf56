"""The syntax of a Corefile: tokens with their lines, environment, quoting, snippets, imports, server blocks.

Rules:

1. Words are separated by space; ``"..."`` holds space and ``\\"``; ``#`` at the start of a word begins a comment.
2. ``{$NAME}`` and ``{%NAME%}`` anywhere in a word are the environment's value, or nothing.
3. ``{`` at the end of a line opens a block, ``}`` on a line of its own closes it.
4. ``(name) { ... }`` is a snippet; ``import name`` puts its lines in place. ``import`` of another word names files:
   here the other keys of the ConfigMap, by glob. A pattern without a match is nothing; a plain name must exist.
5. Every error says the line, and what is allowed there.

What the words mean is in ``corefile_blocks.py``. Source: coredns:corefile.5.md, coredns/caddy:caddyfile.
"""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

import msgspec

MAX_IMPORTS = 1000
MAX_WORDS = 100_000


class CorefileError(ValueError):
    """The Corefile cannot be used. ``line`` counts from 1."""

    def __init__(self, message: str, *, line: int, file: str = "Corefile", fix: str = "") -> None:
        """Keep the place and the remedy."""
        super().__init__(f"{file}:{line}: {message}")
        self.line = line
        self.file = file
        self.fix = fix


class Word(msgspec.Struct, frozen=True):
    """One word and where it stands. ``quoted`` words never open or close blocks."""

    text: str
    line: int
    file: str = "Corefile"
    quoted: bool = False


class Directive(msgspec.Struct, frozen=True):
    """A line of a block: its name, arguments, and the lines of its own block."""

    name: Word
    args: tuple[Word, ...]
    body: tuple["Directive", ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The arguments as plain text."""
        return tuple(word.text for word in self.args)

    def error(self, message: str, *, fix: str = "") -> CorefileError:
        """An error about this line."""
        return CorefileError(message, line=self.name.line, file=self.name.file, fix=fix)


class Block(msgspec.Struct, frozen=True):
    """A server block: its keys as written, and its lines."""

    keys: tuple[Word, ...]
    lines: tuple[Directive, ...]


Row = tuple[Word, ...]


def parse_corefile(
    text: str, *, env: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
) -> tuple[Block, ...]:
    """The server blocks of a Corefile. Raises :class:`CorefileError`."""
    reader = _Reader(read_rows(text, env or {}), env or {}, files or {})
    blocks: list[Block] = []
    while reader.rows:
        block = reader.block()
        if block is not None:
            blocks.append(block)
    return tuple(blocks)


def read_rows(text: str, env: Mapping[str, str], file: str = "Corefile") -> list[Row]:
    """Words by line; empty lines are left out. A quoted word may span lines and belongs to its first."""
    rows: list[Row] = []
    row: list[Word] = []
    last = 0
    for word in _words(text, env, file):
        if row and word.line != last:
            rows.append(tuple(row))
            row = []
        row.append(word)
        last = word.line + word.text.count("\n") * word.quoted
    if row:
        rows.append(tuple(row))
    return rows


_TOKEN = re.compile(
    r'(?P<space>[ \t\r]+)|(?P<line>\n)|(?P<comment>#[^\n]*)|"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<word>\S+)', re.S
)
_ENV = re.compile(r"\{\$([^{}\s]+)\}|\{%([^{}\s%]+)%\}")


def _words(text: str, env: Mapping[str, str], file: str) -> Iterator[Word]:
    line = 1
    for count, found in enumerate(_TOKEN.finditer(text)):
        if count > MAX_WORDS:
            raise CorefileError("the file is too long", line=line, file=file)
        kind = found.lastgroup
        if kind == "line":
            line += 1
        elif kind == "quoted":
            quoted = found["quoted"]
            yield Word(_expand(quoted.replace('\\"', '"'), env), line, file, True)
            line += quoted.count("\n")
        elif kind == "word":
            if found["word"].startswith('"'):
                raise CorefileError("a quote is not closed", line=line, file=file, fix='end it with "')
            yield Word(_expand(found["word"], env), line, file)


def _expand(text: str, env: Mapping[str, str]) -> str:
    return _ENV.sub(lambda m: env.get(m[1] or m[2], ""), text) if "{" in text else text


def _is(word: Word, text: str) -> bool:
    return word.text == text and not word.quoted


class _Reader:
    """Consumes rows from the front; imports are put in place of their row."""

    def __init__(self, rows: list[Row], env: Mapping[str, str], files: Mapping[str, str]) -> None:
        self.rows = rows
        self._env, self._files = env, files
        self._snippets: dict[str, list[Row]] = {}
        self._imports = 0

    def block(self) -> Block | None:
        """The next server block; None when it was a snippet or an import."""
        row = self.rows.pop(0)
        first = row[0]
        if first.text == "import" and not first.quoted:
            self._import(row)
            return None
        keys = list(row)
        while keys[-1].text.endswith(",") and self.rows:
            keys.extend(self.rows.pop(0))
        opened = _is(keys[-1], "{")
        if opened:
            keys.pop()
        if not keys:
            raise CorefileError("a block needs a zone before {", line=first.line, file=first.file, fix=". {")
        if any(_is(key, "{") or _is(key, "}") for key in keys):
            raise CorefileError("{ ends a line, } stands alone", line=first.line, file=first.file)
        if opened and len(keys) == 1 and keys[0].text.startswith("(") and keys[0].text.endswith(")"):
            self._snippets[keys[0].text[1:-1]] = self._rows_of_block(first)
            return None
        lines = tuple(self._lines(first if opened else None))
        split = (msgspec.structs.replace(k, text=t) for k in keys for t in k.text.split(",") if t)
        return Block(tuple(split), lines)

    def _rows_of_block(self, opener: Word) -> list[Row]:
        depth = 1
        taken: list[Row] = []
        while self.rows:
            row = self.rows.pop(0)
            depth += _is(row[-1], "{") - (len(row) == 1 and _is(row[0], "}"))
            if not depth:
                return taken
            taken.append(row)
        raise self._unclosed(opener)

    def _lines(self, opener: Word | None, depth: int = 0) -> Iterator[Directive]:
        """Lines until the closing brace, or until the end of the file where ``opener`` is None."""
        while self.rows:
            row = self.rows.pop(0)
            name = row[0]
            if _is(name, "}"):
                if opener is None or len(row) > 1:
                    raise CorefileError("} closes nothing or has words behind it", line=name.line, file=name.file)
                return
            if _is(name, "import"):
                self._import(row)
                continue
            body: tuple[Directive, ...] = ()
            if _is(row[-1], "{"):
                if depth > 2:
                    raise CorefileError("blocks are nested too deep", line=name.line, file=name.file)
                body = tuple(self._lines(name, depth + 1))
                row = row[:-1]
            if not row or any(_is(word, "{") or _is(word, "}") for word in row):
                raise CorefileError("{ ends a line, } stands alone", line=name.line, file=name.file)
            yield Directive(name, row[1:], body)
        if opener is not None:
            raise self._unclosed(opener)

    def _unclosed(self, opener: Word) -> CorefileError:
        return CorefileError(f"the block of {opener.text!r} is not closed", line=opener.line, file=opener.file, fix="}")

    def _import(self, row: Row) -> None:
        """Put the lines of a snippet or of other keys in place."""
        name = row[0]
        self._imports += 1
        if self._imports > MAX_IMPORTS:
            raise CorefileError("imports go in a circle", line=name.line, file=name.file)
        if len(row) != 2:
            raise CorefileError("import takes one name", line=name.line, file=name.file, fix="import SNIPPET")
        wanted = row[1].text
        if wanted in self._snippets:
            self.rows[:0] = self._snippets[wanted]
            return
        base = wanted.rpartition("/")[2]
        found = [key for key in sorted(self._files) if fnmatchcase(key, base)]
        if not found and not set("*?[") & set(base):
            known = ", ".join([*self._snippets, *self._files]) or "none"
            raise CorefileError(
                f"import {wanted}: no such snippet or key of the ConfigMap (there are: {known})",
                line=name.line,
                file=name.file,
                fix="define the snippet above, as (name) { ... }",
            )
        self.rows[:0] = [r for key in found for r in read_rows(self._files[key], self._env, key)]
