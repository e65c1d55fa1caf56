"""Words, blocks, snippets, imports, environment, and errors with their line."""

import pytest

from podwire.compile.corefile import CorefileError, parse_corefile


def shape(text: str, **options: dict[str, str]) -> list[tuple[list[str], list[str]]]:
    blocks = parse_corefile(text, **options)
    return [([k.text for k in b.keys], [" ".join([d.name.text, *d.texts]) for d in b.lines]) for b in blocks]


def test_keys_are_separated_by_space_and_comma() -> None:
    assert shape("a.org b.org:53, c.org {\n whoami\n}") == [(["a.org", "b.org:53", "c.org"], ["whoami"])]
    assert shape("a.org,\nb.org {\n whoami\n}") == [(["a.org", "b.org"], ["whoami"])]


def test_one_block_needs_no_braces() -> None:
    assert shape("example.org\nlog\nwhoami\n") == [(["example.org"], ["log", "whoami"])]


def test_comments_and_quotes() -> None:
    text = '. { # the root\n  template "a # b" "c \\"d\\"" # rest\n}\n'
    assert shape(text) == [(["."], ['template a # b c "d"'])]


def test_environment() -> None:
    assert shape(". {\n forward . {$UP}:{%PORT%} x{$NONE}y\n}", env={"UP": "192.0.2.1", "PORT": "53"}) == [
        (["."], ["forward . 192.0.2.1:53 xy"])
    ]


def test_snippets_and_files() -> None:
    text = "(common) {\n log\n errors\n}\n. {\n import common\n import custom/*.override\n whoami\n}\nimport *.server\n"
    files = {"a.override": "cache 30\n", "b.server": "b.org {\n whoami\n}\n"}
    assert shape(text, files=files) == [(["."], ["log", "errors", "cache 30", "whoami"]), (["b.org"], ["whoami"])]


def test_nested_options() -> None:
    (block,) = parse_corefile(". {\n health {\n  lameduck 5s\n }\n}\n")
    assert [(d.name.text, d.texts) for d in block.lines[0].body] == [("lameduck", ("5s",))]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (". {\n log\n", 1, "not closed"),
        (". {\n health {\n  lameduck 5s\n}\n", 1, "not closed"),
        ("{\n log\n}\n", 1, "needs a zone"),
        (". {\n log } x\n}\n", 2, "} stands alone"),
        (". {\n import nothing\n}\n", 2, "no such snippet"),
        ("(a) {\n import a\n}\n. {\n import a\n}\n", 2, "circle"),
        ('. {\n log "open\n}\n', 2, "quote"),
        (". {\n}\n}\n", 3, "needs a zone"),
        (". {\n import\n}\n", 2, "one name"),
    ],
)
def test_errors_say_where(text: str, line: int, words: str) -> None:
    with pytest.raises(CorefileError, match="Corefile:") as error:
        parse_corefile(text)
    if words != "needs a zone" or line == 1:
        assert words in str(error.value)
    assert error.value.line == line


def test_errors_in_imported_files_name_the_file() -> None:
    with pytest.raises(CorefileError) as error:
        parse_corefile(". {\n import x.conf\n}", files={"x.conf": "log\n} y\n"})
    assert error.value.file == "x.conf" and error.value.line == 2
