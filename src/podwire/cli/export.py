"""``podwire export``: a cluster as manifests, for ``podwire up -f`` and ``kubectl apply -f``."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podwire.base import EnvironmentUnfit

Json = dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """0, or 1 when some kinds could not be read."""
    objects, missing = asyncio.run(_collect(args))
    text = _stream(objects)
    secrets = sum(1 for value in objects if value["kind"] == "Secret")
    if args.file is None:
        sys.stdout.write(text)
    else:
        write_private(args.file, text)
    where = args.file or "standard output"
    if secrets:
        print(f"podwire: {where} holds {secrets} Secrets, readable by whoever has it", file=sys.stderr)
    for line in missing:
        print(f"podwire: not exported: {line}", file=sys.stderr)
    return 1 if missing else 0


async def _collect(args: argparse.Namespace) -> tuple[list[Json], tuple[str, ...]]:
    from podwire.client.kubeconfig import read_kubeconfig
    from podwire.cluster.export import export_cluster
    from podwire.cluster.home import ClusterHome

    if args.kubeconfig is not None:
        return await export_cluster(read_kubeconfig(args.kubeconfig), home=None, namespaces=args.namespace)
    home = ClusterHome(args.name)
    if home.pid() is None:
        raise EnvironmentUnfit(f"cluster {args.name!r} is not running: podwire up --name {args.name}")
    return await export_cluster(read_kubeconfig(home.kubeconfig), home=home, namespaces=args.namespace)


_OTHER_THAN_TEXT = re.compile(r"[-+.0-9=<~].*|(y|n|yes|no|on|off|true|false|null)", re.IGNORECASE | re.DOTALL)
"""Texts that one reader of YAML or another takes for a number, a time, a truth or nothing."""


def _stream(objects: Sequence[Json]) -> str:
    dumper = _dumper()
    import yaml

    return "".join(f"---\n{yaml.dump(value, Dumper=dumper, sort_keys=False, width=120)}" for value in objects)


def _dumper() -> Any:
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        """Quotes more than YAML 1.1 needs."""

    def text(dumper: Any, value: str) -> Any:
        style = "'" if _OTHER_THAN_TEXT.fullmatch(value) else "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def write_private(path: Path, text: str) -> None:
    """A file of mode 0600, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
