"""Which kinds this server serves: the built-in rows, and rows that come and go with custom resource definitions.

Rules:

1. A path finds its row with :meth:`Kinds.at`, an object its row with :meth:`Kinds.of`, a stored place with
   :meth:`Kinds.stored`. Nothing below ``apiserver/`` asks the constant ``KINDS`` for a kind that may be dynamic.
2. Objects are stored under ``Kind.stored``: the bare kind name for built-in kinds, ``Kind.group`` for dynamic ones, so
   equal names in two groups do not meet. Rows of several versions of one kind share it.
3. ``generation`` grows with every change: discovery and OpenAPI documents made for an older one are made again.
4. What a kind's JSON means (types, defaults, validation, columns, selectable fields) is its :class:`Meaning`.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from podwire.apiserver.meaning import BUILT_IN, Meaning
from podwire.kube.meta import KubeObject
from podwire.kube.registry import KINDS, Kind

Json = dict[str, Any]

REPLICATION_CONTROLLER = Kind(
    "ReplicationController",
    "",
    "v1",
    "replicationcontrollers",
    KubeObject,
    True,
    ("rc",),
    ("all",),
    verbs=("get", "list", "watch"),
)
"""Always empty: ``kubectl apply --prune`` and ``get all`` list it, and nothing here runs one."""
INSTEAD: Mapping[str, str] = MappingProxyType(
    {"ReplicationController": "ReplicationControllers are not run here: write a Deployment instead"}
)
"""What the refusal of a write says, by kind."""


class Kinds:
    """The rows. One for each server."""

    def __init__(self, rows: Iterable[Kind] | None = None) -> None:
        """The rows of ``podwire.kube``, unless others are given."""
        self._rows: list[Kind] = []
        self._meanings: dict[str, Meaning] = {}
        self._shared: dict[tuple[str, str], Meaning] = {}
        self._paths: dict[tuple[str, str, str], Kind] = {}
        self._types: dict[tuple[str, str], Kind] = {}
        self._stored: dict[str, Kind] = {}
        self.generation = 0
        self._replace([*(KINDS.values() if rows is None else rows)])

    def at(self, group: str, version: str, plural: str) -> Kind | None:
        """The row of a path ``/apis/<group>/<version>/<plural>``; core has an empty group."""
        return self._paths.get((group, version, plural))

    def of(self, api_version: str, kind: str) -> Kind | None:
        """The row of an object's ``apiVersion`` and ``kind``."""
        return self._types.get((api_version, kind))

    def stored(self, storage: str) -> Kind:
        """The row objects stored under ``storage`` are written as (the first one added). Raises :class:`KeyError`."""
        return self._stored[storage]

    def storages(self) -> tuple[str, ...]:
        """Every storage name."""
        return tuple(self._stored)

    def rows(self) -> tuple[Kind, ...]:
        """Every row, built-in ones first."""
        return tuple(self._rows)

    def groups(self) -> list[str]:
        """Every named group, in order of its first row."""
        return list(dict.fromkeys(row.group for row in self._rows if row.group))

    def versions(self, group: str) -> list[str]:
        """Versions of a group."""
        return list(dict.fromkeys(row.version for row in self._rows if row.group == group))

    def of_group(self, group: str, version: str) -> list[Kind]:
        """Rows of a group and version, by plural."""
        found = (row for row in self._rows if (row.group, row.version) == (group, version))
        return sorted(found, key=lambda row: row.plural)

    def is_dynamic(self, kind: Kind) -> bool:
        """Whether the row came with :meth:`add`."""
        return kind.stored in self._meanings

    def meaning(self, kind: Kind) -> Meaning:
        """What the kind's JSON means."""
        shared = self._shared.get((kind.api_version, kind.name))
        return shared or self._meanings.get(kind.stored, BUILT_IN)

    def add(self, rows: Iterable[Kind], meaning: Meaning) -> None:
        """Serve the rows of one dynamic kind (all its versions, the stored one first) from now on.

        Their ``storage`` must be set and the same. Rows of that storage that were served before are replaced.
        """
        added = [*rows]
        (storage,) = {row.storage for row in added}
        self._meanings[storage] = meaning
        self._replace([*(row for row in self._rows if row.stored != storage), *added])

    def share(self, row: Kind, meaning: Meaning) -> None:
        """Serve objects that another row stores under a second group (``row.storage`` names the first)."""
        self._shared[row.api_version, row.name] = meaning
        self._replace([*self._rows, row])

    def remove(self, storage: str) -> None:
        """Stop serving a dynamic kind. Raises :class:`KeyError`."""
        del self._meanings[storage]
        self._replace([row for row in self._rows if row.stored != storage])

    def _replace(self, rows: list[Kind]) -> None:
        self._rows = rows
        self._paths = {(row.group, row.version, row.plural): row for row in rows}
        self._types = {(row.api_version, row.name): row for row in rows}
        self._stored = {row.stored: row for row in reversed(rows)}
        self.generation += 1
