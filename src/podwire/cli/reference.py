"""The reference pages that are generated: the command line from its parser, the kinds from their registry.

``python -m podwire.cli.reference FOLDER`` writes them; a repository test holds them to the code.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path


def pages() -> dict[str, str]:
    """Page texts by file name."""
    return {"cli.md": "\n".join(_cli()) + "\n", "kinds.md": "\n".join(_kinds()) + "\n"}


def _cli() -> Iterator[str]:
    from podwire.cli.main import make_parser

    yield "# Command line"
    yield ""
    yield "Exit codes: 0 yes or done, 1 no, denied or findings, 2 usage or environment."
    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, parser in action.choices.items():
                yield from _command(name, helps.get(name, ""), parser)


def _command(name: str, text: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (
        "",
        f"## podwire {name}",
        "",
        f"{text[:1].upper()}{text[1:]}.",
        "",
        "| argument | meaning |",
        "|---|---|",
    )
    for action in parser._actions:
        if action.dest == "help":
            continue
        shown = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        value = "" if not action.option_strings or action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        yield f"| `{shown}{value}` | {action.help or ''} |"


def _kinds() -> Iterator[str]:
    from podwire.kube import KINDS

    yield "# Kinds"
    yield ""
    yield "What the embedded API server knows; `kubectl explain KIND` teaches the fields."
    yield ""
    yield "| kind | apiVersion | resource | short | scope | subresources |"
    yield "|---|---|---|---|---|---|"
    for kind in sorted(KINDS.values(), key=lambda k: (k.group, k.name)):
        scope = "namespaced" if kind.namespaced else "cluster"
        short, parts = ", ".join(kind.short_names), ", ".join(kind.subresources)
        yield f"| {kind.name} | {kind.api_version} | {kind.plural} | {short} | {scope} | {parts} |"


def main(folder: str) -> None:
    """Write the pages."""
    for name, text in pages().items():
        (Path(folder) / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
