"""What CNI asks of a running cluster: to attach a container of another runtime to a node, to look at it, to let it go.

Rules:

1. Commands change wires under the runtime's lock; what they wait for, they wait for without it.
2. An ADD that fails leaves nothing. A DEL of what is not there is done.
3. The first plan after a start decides what of an earlier process's attachments is still there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from podwire.base import PodwireError, differences
from podwire.node import attach_link
from podwire.node.attach_words import (
    BAD_CONFIG,
    BROKEN,
    TRY_AGAIN,
    UNAVAILABLE,
    UNKNOWN_CONTAINER,
    Answer,
    Attachment,
    Key,
    Refused,
    Request,
)
from podwire.node.attachments import Attachments
from podwire.node.fabric import Fabric
from podwire.node.ipam import Ipam
from podwire.node.podlink import GATEWAY_MAC, gateway_of
from podwire.plan import NodePlan
from podwire.plan.node import ATTACHED, BY_USER, Pod

_ATTACH_SECONDS: Final = 20.0


class Attacher:
    """The commands of the CNI plugin, on the wires of a runtime."""

    def __init__(
        self,
        attachments: Attachments,
        *,
        lock: asyncio.Lock,
        fabric: Callable[[], Fabric | None],
        ipam: dict[str, Ipam],
        runs: Callable[[str], bool],
        in_thread: Callable[..., Awaitable[Any]],
    ) -> None:
        """``ipam`` has an entry for every node that is up; ``runs`` says whether podwire itself runs the pod
        ``namespace/name``; ``in_thread`` calls a function in the thread of the wires."""
        self._attachments = attachments
        self._lock = lock
        self._fabric = fabric
        self._ipam = ipam
        self._runs = runs
        self._in_thread = in_thread
        self._adopted = False
        self._pods: Mapping[str, Pod] = {}

    async def follow(self, fabric: Fabric, plan: NodePlan) -> None:
        """The runtime has applied ``plan`` (and holds its lock)."""
        if not self._adopted:
            self._adopted = True
            await self._adopt(fabric)
        before, self._pods = self._pods, plan.pods
        changed = differences(before, plan.pods)
        if any(pods[key].attached for pods in (before, plan.pods) for key in changed if key in pods):
            self._attachments.update(pod for pod in plan.pods.values() if pod.attached)
        if self._attachments:
            self._attachments.remember(fabric.record())

    async def _adopt(self, fabric: Fabric) -> None:
        """Report what an earlier process attached and is still there."""
        alive = []
        for name in self._ipam:
            for attachment in self._attachments.on(name):
                if await self._in_thread(fabric.has_link, name, attachment.link):
                    alive.append(attachment)
                else:
                    self._ipam[name].release(attachment.addresses)
        if self._attachments:
            self._attachments.keep(alive)

    async def attach(self, request: Request, descriptor: int) -> Answer:
        """CNI ADD: an address and a link for the namespace ``descriptor`` is open on, once policies know the address.

        Raises :class:`Refused`; then nothing is attached.
        """
        async with self._lock:
            fabric = self._require_fabric()
            node = self._node_for(request)
            self._require_free(request)
            made = await self._wire_attachment(fabric, node, request, descriptor)
        try:
            async with asyncio.timeout(_ATTACH_SECONDS):
                unit = await self._attachments.wait_until_run(made.key)
        except TimeoutError:
            await self.detach(made.key)
            reason = f"pod {made.place} was not ready for its network in {_ATTACH_SECONDS:.0f} s"
            raise Refused(TRY_AGAIN, reason, "does its namespace exist, and does the API take it?") from None
        gateway_mac = ":".join(f"{byte:02x}" for byte in GATEWAY_MAC)
        gateways = tuple(map(gateway_of, made.addresses))
        return Answer(0, "", "", made, gateways, gateway_mac, fabric.plan.mtu, unit.resolv_conf)

    async def _wire_attachment(self, fabric: Fabric, node: str, request: Request, descriptor: int) -> Attachment:
        key, ipam = request.key, self._ipam[node]
        wishes = (request.address,) if request.address else ()
        try:
            addresses = ipam.allocate(wishes)
        except PodwireError as error:
            raise Refused(TRY_AGAIN, str(error)) from error
        try:
            if not set(wishes) <= set(addresses):
                raise Refused(BAD_CONFIG, f"address {request.address} is not to be had in {ipam}")
            await self._in_thread(attach_link.require_netns, descriptor)
            mac = await self._in_thread(fabric.attach, node, key, descriptor, addresses)
        except (Refused, PodwireError, OSError) as error:
            ipam.release(addresses)
            await self._in_thread(fabric.detach, node, attach_link.link_name(key))
            if isinstance(error, Refused):
                raise
            raise Refused(TRY_AGAIN, str(error)) from error
        link, who = attach_link.link_name(key), (request.namespace, request.pod)
        made = Attachment(key, node, *who, addresses, link, mac, ports=request.ports, labels=request.labels)
        self._attachments.put(made)
        self._attachments.remember(fabric.record())
        return made

    async def detach(self, key: Key) -> None:
        """CNI DEL: take link and address away; what is not attached is fine."""
        async with self._lock:
            attachment = self._attachments.find(key)
            fabric = self._fabric()
            if attachment is None or fabric is None:
                return
            with suppress(PodwireError):
                await self._in_thread(fabric.detach, attachment.node, attachment.link)
            if attachment.node in self._ipam:
                self._ipam[attachment.node].release(attachment.addresses)
            self._attachments.drop(key)

    async def check(self, key: Key, descriptor: int) -> Answer:
        """CNI CHECK. Raises :class:`Refused` with what is missing."""
        fabric, attachment = self._require_fabric(), self._attachments.find(key)
        if attachment is None:
            raise Refused(UNKNOWN_CONTAINER, f"container {key.container} is not attached with {key.interface}")
        await self._in_thread(attach_link.require_netns, descriptor)
        if not await self._in_thread(fabric.has_link, attachment.node, attachment.link):
            raise Refused(BROKEN, f"node {attachment.node} has no link {attachment.link}")
        fault = await self._in_thread(attach_link.find_faults, descriptor, key.interface, attachment.addresses)
        if fault:
            raise Refused(BROKEN, fault)
        return Answer(attachment=attachment)

    async def collect(self, network: str, keep: Iterable[Key]) -> None:
        """CNI GC: detach everything of a network but ``keep``."""
        kept = set(keep)
        for attachment in self._attachments.of(network):
            if attachment.key not in kept:
                await self.detach(attachment.key)

    def check_status(self, request: Request) -> None:
        """CNI STATUS: raises :class:`Refused` when an ADD could not be served."""
        try:
            self._require_fabric()
            node = self._node_for(request)
        except Refused as refused:
            raise Refused(UNAVAILABLE, refused.answer.message, refused.answer.details) from refused
        if not self._ipam[node].has_room:
            raise Refused(UNAVAILABLE, f"no free pod address left in {self._ipam[node]} of node {node}")

    def _require_free(self, request: Request) -> None:
        place = f"{request.namespace}/{request.pod}"
        if self._attachments.find(request.key) is not None:
            raise Refused(BAD_CONFIG, "the container is attached already; DEL comes before another ADD")
        if (other := self._attachments.at(place)) is not None:
            who = f"container {other.key.container} with {other.key.interface}"
            raise Refused(
                BAD_CONFIG, f"pod {place} has its address already, by {who}", "policies know one address a pod"
            )
        if self._runs(place):
            fix = f'annotate it with {ATTACHED}: "{BY_USER}" to leave its containers to another runtime'
            raise Refused(BAD_CONFIG, f"pod {place} is run by podwire itself", fix)

    def _require_fabric(self) -> Fabric:
        fabric = self._fabric()
        if fabric is None or not self._ipam:
            raise Refused(TRY_AGAIN, "podwire is starting")
        return fabric

    def _node_for(self, request: Request) -> str:
        names = sorted(self._ipam)
        if request.node in self._ipam:
            return request.node
        if not request.node and len(names) == 1:
            return names[0]
        said = f"the cluster has no node {request.node!r}" if request.node else "the configuration names no node"
        raise Refused(BAD_CONFIG, said, f'write "node": one of {", ".join(names)}')
