"""The configuration that the driver sends, as chains of plugins and pools of upstreams.

The configuration is ``podwire.plan.DnsConfig`` as plain values; see there for what each field means. Without a
configuration the server answers its zone and asks the plan's upstreams.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from podwire.planes.dns import plugins_answer as answer
from podwire.planes.dns import plugins_change as change
from podwire.planes.dns import plugins_watch as watch
from podwire.planes.dns import wire
from podwire.planes.dns.chain import PLAIN, Ask, Next, Place, Plugin, Request, Router, Served, link, refuse
from podwire.planes.dns.plugins_cache import Cache
from podwire.planes.dns.plugins_forward import Forward
from podwire.planes.dns.plugins_rewrite import Rewrite
from podwire.planes.dns.plugins_serve import Autopath, Transfer
from podwire.planes.dns.plugins_zone import ZoneFile
from podwire.planes.dns.table import Table

Options = dict[str, Any]
BARE_FORWARD: Options = {
    "plugin": "forward", "zone": "", "excepts": (), "next_rcodes": (), "policy": "sequential", "max_concurrent": 1000,
    "max_fails": 0, "force_tcp": False, "read_seconds": 0, "failfast": False, "health_seconds": 0.5,
    "health_recursion": True, "health_name": "",
}  # fmt: skip


class Surroundings(NamedTuple):
    """What plugins need from the server."""

    table: Callable[[], Table | None]
    spawn: Callable[[Ask], None]
    say: Callable[[str, str], None]
    clock: Callable[[], float]
    token: bytes
    hostname: str
    addresses: Callable[[str], tuple[str, ...]] = lambda _: ()
    """Addresses of a network interface."""
    watch: Callable[[str, Plugin], Plugin] = lambda _, plugin: plugin
    """What is put around each plugin of a kind: explanations look at what it does."""


class Built(NamedTuple):
    """A configuration ready to serve. ``tls`` are certificates (``podwire.plan.dnsconfig.Tls``) by place."""

    routers: dict[Place, Router]
    pools: tuple[Options, ...]
    caches: tuple[Cache, ...]
    hosts: tuple[answer.Hosts, ...]
    loops: tuple[tuple[watch.Loop, Next], ...]
    lameduck_seconds: float
    enabled: frozenset[str]
    tls: dict[Place, Options]
    autopaths: tuple[Autopath, ...]
    transfers: tuple[Transfer, ...]
    needs_address: frozenset[Place]
    """Where the address that a question came to must be known."""


def bare_config(upstreams: tuple[str, ...]) -> list[Options]:
    """What a plan without a Corefile means."""
    plugins: list[Options] = [{"plugin": "loadbalance", "prefer": ()}, {"plugin": "kubernetes"}]
    plugins.append({**BARE_FORWARD, "upstreams": upstreams})
    return [{"zones": [""], "plugins": plugins}]


def build(blocks: list[Options], near: Surroundings) -> Built:
    """Chains of all blocks. Raises :class:`ValueError` for what cannot be built."""
    builder = _Builder(near)
    served: dict[Place, list[Served]] = {}
    tls: dict[Place, Options] = {}
    for block in blocks:
        place = place_of(block)
        served.setdefault(place, []).append(builder.block(block))
        if block.get("tls"):
            tls.setdefault(place, block["tls"])
    for place, found in served.items():
        builder.router(place).serve_blocks(found)
    return Built(
        builder.routers,
        tuple(builder.pools),
        tuple(builder.caches),
        tuple(builder.hosts),
        tuple(builder.loops),
        builder.lameduck,
        frozenset(name for found in served.values() for block in found for name in block.plugins),
        tls,
        tuple(builder.autopaths),
        tuple(builder.transfers),
        frozenset(place_of(block) for block in blocks if block.get("binds") or block.get("binds_except"))
        | frozenset(place_of(block) for block in blocks if "server_ip" in str(block.get("conditions"))),
    )


def place_of(block: Options) -> Place:
    """Scheme and port of a server block."""
    return block.get("scheme", PLAIN[0]), block.get("port", PLAIN[1])


class _Builder:
    def __init__(self, near: Surroundings) -> None:
        self.near = near
        self.routers: dict[Place, Router] = {}
        self.whole: Next = refuse
        self.pools: list[Options] = []
        self.caches: list[Cache] = []
        self.hosts: list[answer.Hosts] = []
        self.loops: list[tuple[watch.Loop, Next]] = []
        self.autopaths: list[Autopath] = []
        self.transfers: list[Transfer] = []
        self.lameduck = 0.0

    def router(self, place: Place) -> Router:
        """That of a port."""
        return self.routers.setdefault(place, Router((), place))

    def block(self, block: Options) -> Served:
        """A server block. Raises :class:`ValueError`."""
        zones = tuple(map(wire.encode_name, block["zones"]))
        self.whole = self.router(place_of(block)).serve
        made: list[Plugin] = []
        loops: list[tuple[watch.Loop, int]] = []
        bufsize = wire.OUR_SIZE
        for options in block["plugins"]:
            plugin = self._plugin(options, zones)
            if plugin is not None:
                made.append(self.near.watch(options["plugin"], plugin))
            if isinstance(plugin, change.Bufsize):
                bufsize = plugin.size
            if isinstance(plugin, watch.Loop):
                loops.append((plugin, len(made)))
        sources = tuple(p for p in made if isinstance(p, answer.Kubernetes | ZoneFile))
        for transfer in (p for p in made if isinstance(p, Transfer)):
            transfer.sources = sources
        self.loops.extend((loop, link(made[place:]) if made[place:] else refuse) for loop, place in loops)
        names = tuple(dict.fromkeys(o["plugin"] for o in block["plugins"]))
        return Served(zones, link(made), names, bufsize, self._allows(block), block.get("view", ""))

    def _allows(self, block: Options) -> Callable[[Request], bool] | None:
        """Whether a question is for this block: by our address, and by the conditions of its view."""
        tests: list[Callable[[Request], Any]] = []
        if block.get("binds"):
            wanted = self._addresses(block["binds"])
            tests.append(lambda request: request.server in wanted)
        if block.get("binds_except"):
            left_out = self._addresses(block["binds_except"])
            tests.append(lambda request: request.server not in left_out)
        if block.get("conditions"):
            from podwire.planes.dns.view import compile_condition

            tests.extend(map(compile_condition, block["conditions"]))
        return (lambda request: all(test(request) for test in tests)) if tests else None

    def _addresses(self, binds: list[str]) -> frozenset[str]:
        """Interfaces are the addresses that they have now."""
        return frozenset(a for b in binds for a in ((b,) if "." in b or ":" in b else self.near.addresses(b)))

    def _plugin(self, options: Options, zones: tuple[bytes, ...]) -> Plugin | None:
        near, kind = self.near, options["plugin"]
        own = tuple(map(wire.encode_name, options["zones"])) if "zones" in options else zones
        match kind:
            case "ready" | "prometheus":
                return None
            case "health":
                self.lameduck = float(options["lameduck_seconds"])
                return None
            case "kubernetes":
                return answer.Kubernetes(near.table, self.whole)
            case "hosts":
                made = answer.Hosts(own, options["entries"], ttl=options["ttl"], reverse=options["reverse"])
                made.fallthrough = _zones(options["fallthrough"])
                self.hosts.append(made)
                return made
            case "file":
                zone = ZoneFile(own, options["records"], self.whole)
                zone.fallthrough = _zones(options["fallthrough"])
                return zone
            case "autopath":
                self.autopaths.append(Autopath(options, own, near.table))
                return self.autopaths[-1]
            case "transfer":
                self.transfers.append(Transfer(options, own, near.say))
                return self.transfers[-1]
            case "template":
                return answer.Template(options, own, _zones(options["fallthrough"]))
            case "forward":
                self.pools.append(options)
                return Forward(options, len(self.pools) - 1)
            case "cache":
                self.caches.append(Cache(options, own, near.spawn))
                return self.caches[-1]
            case _:
                return self._small(kind, options, own)

    def _small(self, kind: str, options: Options, zones: tuple[bytes, ...]) -> Plugin:
        near = self.near
        match kind:
            case "errors":
                return watch.Errors([(s, p) for s, p in options["consolidate"]], near.say, near.clock)
            case "log":
                return watch.Log(options, tuple(map(wire.encode_name, options["names"])), near.say, near.clock)
            case "acl":
                return watch.Acl(zones, options["rules"])
            case "loop":
                return watch.Loop(near.token, near.say)
            case "any":
                return answer.AnyType()
            case "chaos":
                return answer.Chaos(options["version"], list(options["authors"]), near.hostname)
            case "whoami":
                return answer.Whoami()
            case "rewrite":
                return Rewrite(options["rules"], self.whole)
            case "dns64":
                flags = {key: options[key] for key in ("translate_all", "allow_ipv4")}
                return change.Dns64(options["prefix"], **flags)
            case "minimal":
                return change.Minimal()
            case "loadbalance":
                return change.LoadBalance(list(options["prefer"]), options.get("weights", ()))
            case "nsid":
                return change.Nsid(options["data"])
            case "bufsize":
                return change.Bufsize(options["size"])
        raise ValueError(f"plugin {kind} is not known to this server")


def _zones(names: list[str] | None) -> tuple[bytes, ...] | None:
    return None if names is None else tuple(map(wire.encode_name, names))
