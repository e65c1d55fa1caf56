"""Containers of other runtimes on the nodes of this cluster: who is attached, and what their pods are told to be.

Rules:

1. An attached pod's namespace and containers belong to somebody else. podwire gives it an address and a link, and says
   of its containers only that they run: their runtime started them, and tells nobody here how they are.
2. A pod unit with ``attached`` meets its attachment by namespace and name. Without one it waits; a unit that ends is
   gone at once, while the attachment stays until its runtime takes it away.
3. ADD is answered when the pod's ``run`` is true, which means that the policies of its node know the address (plan/node
   rule 2): a container that is started after ADD meets its policies from the first packet. From then on it runs,
   also for a process that finds it attached.
4. Attachments are kept on disk before they are reported, and forgotten after their link is gone.
"""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec

from podwire.node.attach_store import AttachmentStore
from podwire.node.attach_words import Attachment, Key
from podwire.node.wires import Record
from podwire.plan import AttachmentFact, ContainerFact, PodFact, Report
from podwire.plan.node import ATTACHED, BY_USER, Pod

State = Literal["attached", "gone", "forgotten"]
_WAITS: Final = "waits for a container runtime to attach it"


class Attachments:
    """What is attached, and the facts about it. Use from the event loop's thread."""

    def __init__(self, report: Report, state_dir: Path) -> None:
        """Nothing is read before :meth:`open`."""
        self._report = report
        self._store = AttachmentStore(state_dir)
        self._known: dict[Key, Attachment] = {}
        self._since: dict[Key, float] = {}
        self._begun: set[Key] = set()
        self._units: dict[str, Pod] = {}
        self._facts: dict[str, PodFact] = {}
        self._recorded: Record | None = None
        self._orphans: dict[str, AttachmentFact] = {}
        self._waiting: dict[Key, asyncio.Future[Pod]] = {}

    def __bool__(self) -> bool:
        """Whether anything is attached."""
        return bool(self._known)

    def open(self) -> None:
        """Read what an earlier process attached; it is reported by :meth:`keep`."""
        self._store.hold()
        self._known = {a.key: a for a in self._store.load()}
        self._begun = set(self._known)

    def close(self) -> None:
        """Let others change the file."""
        self._store.release()

    def wires(self) -> Record | None:
        """How the wires were when something was attached last; None when nothing is attached."""
        return self._store.load_wires() if self._known else None

    def remember(self, record: Record) -> None:
        """Write down the wires for the next process, while something is attached."""
        if self._known and record != self._recorded:
            self._recorded = record
            self._store.save_wires(record)

    def find(self, key: Key) -> Attachment | None:
        """One attachment."""
        return self._known.get(key)

    def on(self, node: str) -> list[Attachment]:
        """Those of a node."""
        return [a for a in self._known.values() if a.node == node]

    def at(self, place: str) -> Attachment | None:
        """That of the pod ``namespace/name``."""
        return next((a for a in self._known.values() if a.place == place), None)

    def of(self, network: str) -> list[Attachment]:
        """Those of a network."""
        return [a for a in self._known.values() if a.key.network == network]

    def keep(self, alive: Iterable[Attachment]) -> None:
        """After a start: exactly these still have their link."""
        self._known = {a.key: a for a in alive}
        self._store.save(self._known.values())
        for attachment in self._known.values():
            self._tell(attachment)

    def put(self, attachment: Attachment) -> None:
        """Rule 4."""
        self._known[attachment.key] = attachment
        self._store.save(self._known.values())
        self._tell(attachment)
        self._refresh()

    def drop(self, key: Key) -> None:
        """Its link is gone."""
        attachment = self._known.pop(key, None)
        if attachment is not None:
            self._begun.discard(key)
            self._store.save(self._known.values())
            self._tell(attachment, state="forgotten")
            self._refresh()

    def _tell(self, attachment: Attachment, *, state: State = "attached") -> None:
        self._since.setdefault(attachment.key, time.time())
        fact = AttachmentFact(
            container=attachment.key.container,
            node=attachment.node,
            namespace=attachment.namespace,
            name=attachment.pod,
            labels=attachment.labels,
            ports=tuple((p.host_port, p.container_port, p.protocol.upper(), p.host_ip) for p in attachment.ports),
            state=state,
        )
        self._report("/".join((attachment.key.network, attachment.key.container, attachment.key.interface)), fact)

    def update(self, units: Iterable[Pod]) -> None:
        """The attached pods of the newest plan."""
        self._units = {unit.pod.key: unit for unit in units}
        self._refresh()

    def _refresh(self) -> None:
        present = {attachment.place: attachment for attachment in self._known.values()}
        for place, unit in self._units.items():
            attachment = present.get(place)
            self._say(unit, attachment if attachment is not None and attachment.node == unit.node else None)
            if attachment is None:
                self._orphan(unit)
        uids = {unit.uid for unit in self._units.values()}
        self._facts = {uid: fact for uid, fact in self._facts.items() if uid in uids}
        for uid in [uid for uid in self._orphans if uid not in uids]:
            self._report(f"pod/{uid}", msgspec.structs.replace(self._orphans.pop(uid), state="forgotten"))

    def _orphan(self, unit: Pod) -> None:
        """A pod that was made for a container which is not here, perhaps taken away while podwire did not run."""
        container = dict(unit.annotations).get(ATTACHED, BY_USER)
        if container != BY_USER and unit.uid not in self._orphans:
            fact = AttachmentFact(container, unit.node, unit.pod.namespace, unit.pod.name, state="gone")
            self._orphans[unit.uid] = fact
            self._report(f"pod/{unit.uid}", fact)

    def _say(self, unit: Pod, attachment: Attachment | None) -> None:
        running = attachment is not None and (unit.run or attachment.key in self._begun)
        if attachment is not None and running:
            self._begun.add(attachment.key)
        waiting = self._waiting.get(attachment.key) if attachment is not None and running else None
        if waiting is not None and not waiting.done():
            waiting.set_result(unit)
        began = self._since[attachment.key] if attachment is not None else 0.0
        state = "running" if running else "waiting"
        containers = tuple(
            ContainerFact(c.name, state, ready=running, started=running, started_at=began if running else 0)  # type: ignore[arg-type]
            for c in unit.containers
        )
        fact = PodFact(
            uid=unit.uid,
            node=unit.node,
            addresses=attachment.addresses if attachment is not None else (),
            containers=containers if attachment is not None else (),
            gone=unit.terminating,
            message="" if attachment is not None else _WAITS,
            started_at=began,
        )
        if self._facts.get(unit.uid) != fact:
            self._facts[unit.uid] = fact
            self._report(unit.uid, fact)

    async def wait_until_run(self, key: Key) -> Pod:
        """Rule 3: the unit of its pod then; bound it with :func:`asyncio.timeout`."""
        waiting = self._waiting.setdefault(key, asyncio.get_running_loop().create_future())
        self._refresh()
        try:
            return await waiting
        finally:
            self._waiting.pop(key, None)
