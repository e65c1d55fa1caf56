"""A parsed Corefile as typed server blocks.

Rules:

1. A block's plugins are put in CoreDNS's fixed order; twice the same plugin is an error but for those that CoreDNS
   lets repeat.
2. A plugin of CoreDNS that podwire does not have, and a word that is no plugin, are errors: the server never runs
   half a configuration. Options without effect here are reported by :class:`Ignored`.
3. A zone belongs to one block (``view`` is not built).

Source: coredns:plugin.cfg, corefile.5.md.
"""

from collections.abc import Mapping

import msgspec

from podwire.base import FieldPath, Origin
from podwire.compile import corefile_plugins as plain
from podwire.compile import corefile_traffic as traffic
from podwire.compile.corefile import Block, CorefileError, Directive, parse_corefile
from podwire.compile.corefile_plugins import Maker, Reading
from podwire.compile.corefile_words import server_zones
from podwire.plan import dnsconfig as d

MAKERS: Mapping[str, Maker] = {
    "reload": plain.read_reload,
    "nsid": plain.read_nsid,
    "bufsize": plain.read_bufsize,
    "bind": plain.read_bind,
    "ready": plain.read_ready,
    "health": plain.read_health,
    "prometheus": plain.read_prometheus,
    "errors": plain.read_errors,
    "log": plain.read_log,
    "dns64": plain.read_dns64,
    "acl": plain.read_acl,
    "any": plain.simple(d.Any_),
    "chaos": plain.read_chaos,
    "loadbalance": plain.read_loadbalance,
    "cache": traffic.read_cache,
    "rewrite": traffic.read_rewrite,
    "minimal": plain.simple(d.Minimal),
    "template": traffic.read_template,
    "hosts": plain.read_hosts,
    "kubernetes": plain.read_kubernetes,
    "file": plain.read_file,
    "loop": plain.simple(d.Loop),
    "forward": traffic.read_forward,
    "whoami": plain.simple(d.Whoami),
}
"""Every plugin there is, in the order in which they act."""

REPEATED = ("file", "rewrite", "template", "log", "acl", "forward")
UNBUILT = (
    "auto", "autopath", "azure", "cancel", "clouddns", "debug", "dnssec", "dnstap", "erratic", "etcd", "geoip",
    "grpc", "header", "k8s_external", "local", "metadata", "multisocket", "nomad", "pprof", "quic", "root", "route53",
    "secondary", "sign", "timeouts", "tls", "trace", "transfer", "tsig", "view",
)  # fmt: skip


class Ignored(msgspec.Struct, frozen=True):
    """An option that is accepted and has no effect: where it is, and why."""

    text: str
    line: int
    why: str


class Corefile(msgspec.Struct, frozen=True):
    """A usable Corefile."""

    config: d.DnsConfig
    ignored: tuple[Ignored, ...] = ()


def compile_corefile(
    text: str,
    origin: Origin,
    *,
    resolv_conf: tuple[str, ...],
    env: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Corefile:
    """The typed configuration. ``resolv_conf`` are the host's name servers. Raises :class:`CorefileError`."""
    blocks: list[d.ServerBlock] = []
    ignored: list[Ignored] = []
    seen: dict[str, int] = {}
    for raw in parse_corefile(text, env=env, files=files):
        block, notes = _compile_block(raw, origin, resolv_conf, files or {})
        for zone in block.zones:
            if zone in seen:
                word = raw.keys[0]
                message = f"zone {zone or '.'} is served by the block of line {seen[zone]} already"
                raise CorefileError(message, line=word.line, file=word.file, fix="put the plugins into one block")
            seen[zone] = raw.keys[0].line
        blocks.append(block)
        ignored.extend(notes)
    if not blocks:
        raise CorefileError("there is no server block", line=1, fix=". { ... }")
    _check_kubernetes(blocks, text)
    return Corefile(d.DnsConfig(tuple(blocks)), tuple(ignored))


def _compile_block(
    raw: Block, origin: Origin, resolv_conf: tuple[str, ...], files: Mapping[str, str]
) -> tuple[d.ServerBlock, list[Ignored]]:
    zones = tuple(dict.fromkeys(zone for key in raw.keys for zone in server_zones(key)))
    reading = Reading(zones=zones, resolv_conf=resolv_conf, files=files, ignored=[])
    made: dict[str, list[d.Plugin]] = {}
    lines: dict[str, int] = {}
    for line in raw.lines:
        name = line.name.text
        maker = MAKERS.get(name)
        if maker is None:
            raise _not_a_plugin(line)
        if name in lines and name not in REPEATED:
            raise line.error(f"plugin {name} is in this block already (line {lines[name]})")
        lines[name] = line.name.line
        plugin = maker(reading, line)
        made.setdefault(name, []).extend([plugin] if plugin is not None else [])
    plugins = [p for name in MAKERS for p in _joined(made.get(name, []))]
    notes = [Ignored(f"{option.name.text}", option.name.line, why) for option, why in reading.ignored]
    return d.ServerBlock(origin, zones, tuple(plugins)), notes


def _joined(plugins: list[d.Plugin]) -> list[d.Plugin]:
    """All rules of ``rewrite`` act as one plugin: ``continue`` goes on with the next rule."""
    rules = [rule for p in plugins if isinstance(p, d.Rewrite) for rule in p.rules]
    return [d.Rewrite(tuple(rules))] if rules else plugins


def _not_a_plugin(line: Directive) -> CorefileError:
    name = line.name.text
    allowed = ", ".join(MAKERS)
    if name in UNBUILT:
        return line.error(f"plugin {name} is not built in podwire (there are: {allowed})", fix=f"remove {name}")
    return line.error(f"{name!r} is not a plugin (there are: {allowed})")


def _check_kubernetes(blocks: list[d.ServerBlock], text: str) -> None:
    """The cluster's zone is served once."""
    found = [p for block in blocks for p in block.plugins if isinstance(p, d.Kubernetes)]
    line = next((n for n, row in enumerate(text.splitlines(), 1) if row.split()[:1] == ["kubernetes"]), 1)
    if len(found) > 1:
        raise CorefileError("plugin kubernetes is used more than once", line=line, fix="keep one of them")
    for plugin in found:
        domains = [z for z in plugin.zones if not is_reverse(z)]
        if len(domains) != 1 or not domains[0]:
            named = ", ".join(z or "." for z in domains) or "none"
            raise CorefileError(
                f"plugin kubernetes serves one zone beside reverse zones, got {named}",
                line=line,
                fix="kubernetes cluster.local in-addr.arpa ip6.arpa",
            )


def is_reverse(zone: str) -> bool:
    """Whether a zone holds addresses."""
    return zone.endswith(("in-addr.arpa", "ip6.arpa"))


def default_corefile(domain: str) -> str:
    """What kubeadm installs (kubernetes:cmd/kubeadm/app/phases/addons/dns/manifests.go)."""
    return f""".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {domain}
       disable denial {domain}
    }}
    loop
    reload
    loadbalance
}}
"""


CONFIG_MAP = "coredns"
COREFILE_PATH = FieldPath("data.Corefile")
