"""``python -m podwire`` runs the command line."""

from podwire.cli import main

raise SystemExit(main())
