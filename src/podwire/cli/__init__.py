"""Arguments in, answers out, exit codes: 0 yes/ok, 1 no/denied/findings, 2 usage or environment."""

from podwire.cli.main import main

__all__ = ["main"]
