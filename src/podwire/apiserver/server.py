"""The embedded Kubernetes-compatible API server: HTTPS for everybody, plain calls for the process it lives in.

Rules:

1. The in-process calls run the same verbs as HTTP: admission, defaults, validation, durability. They are not tracked in
   managedFields (the engine writes status and derived objects; nobody applies those).
2. ``list_all`` followed at once (no await) by ``subscribe`` misses nothing and repeats nothing.
3. ``start`` answers only when every object of the bootstrap is durable and the sockets listen.

Spec: reference/api-server.md; KEP numbers are named where they apply.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from podwire.apiserver.allocate import Allocator
from podwire.apiserver.bootstrap import bootstrap
from podwire.apiserver.chance import Chance, RealChance
from podwire.apiserver.cidrs import Cidrs
from podwire.apiserver.custom import Definitions
from podwire.apiserver.events import expire_events
from podwire.apiserver.history import EventType, Feed
from podwire.apiserver.kinds import REPLICATION_CONTROLLER, Kinds
from podwire.apiserver.kubeconfig import Kubeconfig
from podwire.apiserver.newevents import NEW_EVENT, NewEvents
from podwire.apiserver.objects import Objects, key_of
from podwire.apiserver.pki import Pki
from podwire.apiserver.rbac import Authorizer
from podwire.apiserver.reaper import Deleted, DeleteOptions
from podwire.apiserver.reviews import REVIEWS
from podwire.apiserver.status import bad_request
from podwire.apiserver.store import Store
from podwire.apiserver.verbs import APPLY, Outcome, Verbs, WriteOptions
from podwire.base import EnvironmentUnfit
from podwire.kube.registry import KINDS, Kind

if TYPE_CHECKING:
    from aiohttp.web import Server

    from podwire.apiserver.http.app import Gate
    from podwire.apiserver.metrics import MetricsSource
    from podwire.apiserver.reviews import Reviews
    from podwire.apiserver.webhooks.hooks import Hooks

Json = dict[str, Any]

HOUSEKEEPING_SECONDS = 60.0
USUAL_PORT = 6443
"""What Service ``kubernetes`` leads to where nothing listens."""
STOP_SECONDS = 1.0
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78  # linux/in.h, linux/in6.h; the socket module has no name for them


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve.

    ``directory`` None keeps everything in memory. ``port`` 0 takes the one of the last start, or a free one. No
    ``addresses``: nothing listens, there are no certificates and no kubeconfig, only the in-process calls. An address
    need not exist yet (IP_FREEBIND): the fabric's comes up while the server is already starting.
    ``advertise`` is the address (one of ``addresses``, not loopback) by which pods reach the server; empty: they
    cannot, and Service ``kubernetes`` has no endpoints.
    """

    directory: Path | None = None
    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0
    advertise: str = ""
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    cluster: str = "podwire"
    domain: str = "cluster.local"
    token: str = ""
    authorization: Literal["RBAC", "AlwaysAllow"] = "RBAC"
    namespace_delay_seconds: float = 1.0
    """How long the content of a deleted namespace stays."""


class Subscription:
    """Changes for the engine, in order, without limit."""

    def __init__(self, store: Store, feed: Feed) -> None:
        """Use :meth:`ApiServer.subscribe`."""
        self._store = store
        self._feed = feed

    async def next(self) -> list[tuple[EventType, Json]]:
        """At least one change; an empty list when the server stops. A DELETED object is its last state."""
        return [(change.type, change.item.value) for change in await self._feed.next()]

    def close(self) -> None:
        """End it."""
        self._store.unfollow(self._feed)


class ApiServer:
    """One server. ``start`` once, ``stop`` once."""

    def __init__(self, settings: ApiSettings, *, backend: Any = None, chance: Chance | None = None) -> None:
        """``backend`` serves log, exec, attach and port-forward of pods; it may be set later."""
        self.settings = settings
        self.backend = backend
        self.metrics: MetricsSource | None = None
        self._chance: Chance = chance or RealChance()
        self._temporary: TemporaryDirectory[str] | None = None
        self._sockets: list[asyncio.Server] = []
        self._web: Server | None = None
        self._reviews: Reviews | None = None
        self._chores: asyncio.Task[None] | None = None
        self._kubeconfig: Kubeconfig | None = None
        self._cidrs: Cidrs | None = None
        self._emptying: dict[str, asyncio.TimerHandle] = {}
        self.port = 0

    # --- life ---

    async def start(self) -> None:
        """Open the store, make certificates, listen. Raises :class:`EnvironmentUnfit`."""
        pki = self._ensure_pki() if self.settings.addresses else None
        path = self.settings.directory / "objects.sqlite" if self.settings.directory else None
        self.store = Store.open(path)
        try:
            await self._serve(pki)
        except BaseException:
            await self.stop()
            raise

    async def _serve(self, pki: Pki | None) -> None:
        allocator = Allocator(self.settings.service_cidrs, self._chance.pick)
        objects = Objects(self.store, allocator, self._kinds())
        self.verbs = Verbs(objects, self._chance, root_certificate=pki.ca.read_text() if pki else "")
        self.authorizer = Authorizer(objects, always=self.settings.authorization == "AlwaysAllow")
        Definitions(objects, self.verbs.reaper, self._chance.now)
        self._cidrs = Cidrs(objects, self.verbs.reaper, self._chance)
        self.verbs.guard = self.authorizer.guard
        self.verbs.make_hooks = self._make_hooks
        if pki is not None:
            await self._listen(pki)
        bootstrap(self.verbs, self.settings.advertise, self.port or USUAL_PORT)
        self._cidrs.resume()
        await self.store.settled(self.store.head_rv)
        self._resume_namespaces()
        self._chores = asyncio.create_task(self._housekeeping())
        if pki is not None:
            url = f"https://{self.settings.addresses[0]}:{self.port}"
            self._kubeconfig = Kubeconfig.of(self.settings.cluster, url, pki)

    async def stop(self) -> None:
        """End watches and connections, commit what is under way, release files and sockets."""
        if self._chores is not None:
            self._chores.cancel()
            with suppress(asyncio.CancelledError):
                await self._chores
        for timer in self._emptying.values():
            timer.cancel()
        if self._cidrs is not None:
            self._cidrs.close()
        for server in self._sockets:
            server.close()
        self.store.end_feeds()
        if self._web is not None:
            await self._web.shutdown(STOP_SECONDS)
        await self.store.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def kubeconfig(self) -> Kubeconfig:
        """How clients connect; available after ``start``."""
        assert self._kubeconfig is not None, "start first"
        return self._kubeconfig

    # --- in-process access ---

    async def create(self, value: Json) -> Json:
        """Create; returns the stored object. Raises :class:`StatusError`."""
        kind, namespace, _ = self._place(value)
        outcome = await self.verbs.reviewed(WriteOptions(), lambda how: self.verbs.create(kind, namespace, value, how))
        await self.store.settled(outcome.rv)
        return outcome.value

    async def update(self, value: Json, subresource: str = "") -> Json:
        """Replace the object or a subresource; its resourceVersion, when there is one, must be current."""
        kind, namespace, name = self._place(value)

        def write(how: WriteOptions) -> Outcome:
            return self.verbs.update(kind, namespace, value, how, name=name, subresource=subresource)

        outcome = await self.verbs.reviewed(WriteOptions(), write)
        await self.store.settled(outcome.rv)
        return outcome.value

    async def merge(
        self, kind: str, namespace: str, name: str, patch: Json, *, subresource: str = "", resource_version: str = ""
    ) -> Json:
        """JSON merge patch; ``resource_version`` makes it conditional."""
        if resource_version:
            patch = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": resource_version}}
        key, row = key_of(namespace, name), self.verbs.objects.kinds.stored(kind)

        def write(how: WriteOptions) -> Outcome:
            return self.verbs.merge(row, key, patch, how, subresource=subresource)

        outcome = await self.verbs.reviewed(WriteOptions(verb="Patch"), write)
        await self.store.settled(outcome.rv)
        return outcome.value

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> Json:
        """Delete; returns the last state (marked, or as it was removed)."""
        options = DeleteOptions(grace_seconds=grace_seconds, uid=uid)
        key, row = key_of(namespace, name), self.verbs.objects.kinds.stored(kind)

        def write(how: WriteOptions) -> Deleted:
            self.verbs.admit_delete(row, key, how)
            return self.verbs.delete(row, key, options)

        deleted = await self.verbs.reviewed(WriteOptions(), write)
        await self.store.settled(deleted.rv)
        return deleted.value

    def serve_metrics(self, source: "MetricsSource") -> None:
        """Serve metrics.k8s.io from now on. Call once, after ``start``."""
        from podwire.apiserver.metrics import NODE_METRICS, POD_METRICS, MetricsMeaning

        self.metrics = source
        for row in (NODE_METRICS, POD_METRICS):
            self.verbs.objects.kinds.share(row, MetricsMeaning())

    async def apply(self, kind: Kind, key: str, value: Json, options: WriteOptions) -> Outcome:
        """Server-side apply; not durable before ``store.settled(outcome.rv)``. Raises :class:`StatusError`."""
        body = msgspec.json.encode(value)

        def write(how: WriteOptions) -> Outcome:
            return self.verbs.patch(kind, key, content_type=APPLY, body=body, options=how)

        return await self.verbs.reviewed(msgspec.structs.replace(options, verb="Patch"), write)

    async def bind(self, namespace: str, name: str, *, uid: str, node: str) -> Json:
        """Put a pod on a node."""
        outcome = self.verbs.bind(namespace, name, node=node, uid=uid)
        await self.store.settled(outcome.rv)
        return outcome.value

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """One durable object."""
        item = self.store.get(kind, key_of(namespace, name))
        return item.value if item else None

    def list_all(self, kinds: Iterable[str] | None = None) -> tuple[list[Json], int]:
        """Every durable object, by kind and key, and the revision they are of; ``kinds`` are names of storage."""
        chosen = self.store.kinds() if kinds is None else sorted(set(kinds) & set(self.store.kinds()))
        return [item.value for kind in chosen for _, item in self.store.items(kind)], self.store.rv

    def request_token(self, namespace: str, name: str, value: Json) -> str:
        """A token for a ServiceAccount, as a TokenRequest gives it. Raises :class:`StatusError`."""
        assert self._reviews is not None
        return str(self._reviews.request_token(namespace, name, value, dry_run=False)["status"]["token"])

    def subscribe(self, kinds: Iterable[str] | None = None) -> Subscription:
        """Every change after this moment."""
        chosen = None if kinds is None else frozenset(kinds)
        return Subscription(self.store, self.store.follow(chosen))

    # --- steps of start ---

    def _ensure_pki(self) -> Pki:
        if self.settings.directory is None:
            self._temporary = TemporaryDirectory(prefix="podwire-api-")
            directory = Path(self._temporary.name)
        else:
            directory = self.settings.directory
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        pki = Pki(directory / "pki")
        service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
        full = f"kubernetes.default.svc.{self.settings.domain}"
        first = Allocator(self.settings.service_cidrs, self._chance.pick).first_address
        pki.ensure((*self.settings.addresses, "localhost", "127.0.0.1", *service, full, first))
        return pki

    async def _listen(self, pki: Pki) -> None:
        from aiohttp.web import Server

        from podwire.apiserver.http.app import App

        app = App(self.verbs, self._gate(pki), owner=self)
        # handler_cancellation: a client that goes away ends its watch or stream at once.
        self._web = Server(app.handle, access_log=None, handler_cancellation=True, max_line_size=64 * 1024)
        context = _tls(pki)
        self.port = self.settings.port or self._last_port()
        for address in self.settings.addresses:
            self._sockets.append(await self._bind(address, context))
            self.port = self._sockets[0].sockets[0].getsockname()[1]
        app.address = f"{self.settings.addresses[0]}:{self.port}"
        self._save_port()

    def _make_hooks(self) -> "Hooks":
        from podwire.apiserver.webhooks.dial import service_dial
        from podwire.apiserver.webhooks.hooks import Hooks

        return Hooks(self.verbs.objects, service_dial(self.store, lambda: self.backend))

    def _kinds(self) -> Kinds:
        kinds = Kinds((*KINDS.values(), REPLICATION_CONTROLLER, *REVIEWS))
        kinds.share(NEW_EVENT, NewEvents())
        return kinds

    def _gate(self, pki: Pki) -> "Gate":
        from podwire.apiserver.auth import Authenticator
        from podwire.apiserver.http.app import Gate
        from podwire.apiserver.reviews import Reviews
        from podwire.apiserver.tokens import Tokens

        objects, chance = self.verbs.objects, self._chance
        tokens = Tokens(pki.directory, f"https://kubernetes.default.svc.{self.settings.domain}", objects.get)
        authenticator = Authenticator(
            self.settings.token, tokens, permit=self.authorizer.permit, now=lambda: chance.now().timestamp()
        )
        reviews = self._reviews = Reviews(objects, self.authorizer, tokens, chance)
        return Gate(authenticator, self.authorizer, reviews, tokens, chance)

    async def _bind(self, address: str, context: ssl.SSLContext) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        assert self._web is not None
        try:
            return await loop.create_server(self._web, sock=_socket(address, self.port), ssl=context)
        except OSError as error:
            if self.settings.port == 0 and not self._sockets and self.port:
                self.port = 0  # somebody took the port of the last start
                return await self._bind(address, context)
            why = f"the API server cannot listen on {address}:{self.port}: {error.strerror or error}"
            raise EnvironmentUnfit(why) from error

    def _last_port(self) -> int:
        try:
            return int(self._port_file().read_text()) if self.settings.directory else 0
        except (FileNotFoundError, ValueError):
            return 0

    def _save_port(self) -> None:
        if self.settings.directory and self._last_port() != self.port:
            self._port_file().write_text(str(self.port))

    def _port_file(self) -> Path:
        assert self.settings.directory is not None
        return self.settings.directory / "port"

    def _resume_namespaces(self) -> None:
        self.verbs.reaper.defer = self._empty_later
        for name, value in self.store.heads("Namespace"):
            if value["metadata"].get("deletionTimestamp"):
                self._empty_later(name)

    def _empty_later(self, namespace: str) -> None:
        loop = asyncio.get_running_loop()
        self._emptying[namespace] = loop.call_later(self.settings.namespace_delay_seconds, self._empty, namespace)

    def _empty(self, namespace: str) -> None:
        self._emptying.pop(namespace, None)
        self.verbs.reaper.empty(namespace)

    def _place(self, value: Json) -> tuple[Kind, str, str]:
        kind = self.verbs.objects.kinds.of(str(value.get("apiVersion")), str(value.get("kind")))
        if kind is None:
            raise bad_request(f'no kind "{value.get("kind", "")}" is registered')
        meta = value.get("metadata") or {}
        return kind, (meta.get("namespace") or "default") if kind.namespaced else "", meta.get("name") or ""

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            expire_events(self.verbs, self._chance.now())


def _socket(address: str, port: int) -> socket.socket:
    six = ":" in address
    opened = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            opened.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        opened.bind((address, port))
    except OSError:
        opened.close()
        raise
    return opened


def _tls(pki: Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki.ca)
    context.load_cert_chain(*pki.pair("server"))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context
