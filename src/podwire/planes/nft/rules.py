"""The constant rule text of a node: two tables a family, few chains, no rule for a Service, endpoint, pod or policy.

Rules:

1. Everything that comes and goes is an element; the only chains made later are one for each new number of endpoints.
2. Keys are declared with plain ``type``: nft 1.0.6 refuses later additions after ``typeof ... th dport``.
3. A look-up that misses ends its rule and leaves the register alone, so a reset or a hit test precedes each.
4. ``meta mark`` and ``ct mark`` are scratch of whoever runs: first Services (dstnat), then policy (forward, 10). What
   must outlive that, the wish to masquerade, is a conntrack label.
5. Refusals and drops are decided at dstnat, before routing, so they do not depend on a route to the virtual address.

6. A pod of another node that was short-circuited here to an endpoint of another node becomes this node, else the
   reply would not come back through here.

Layout and packet paths: ``docs/design/services.md``, ``docs/design/policy.md``; P and N numbers are theirs. That
``reject`` works in nat chains: ``docs/lab/2026-11-24-nft-mark-layout.md``.
"""

from collections.abc import Mapping

from podwire.plan import Draw
from podwire.planes.nft.tables import SVC, BackendClass, Family

READY_COUNTS = 64
"""lb1 to lb64 exist from the start: a new chain makes the kernel validate the whole table again."""

_SERVICES = """\
table $IP podwire-svc {
  map frontends {        # virtual address . protocol . port -> flags, list
    type $ADDR . inet_proto . inet_service : mark
    counter              # of first packets: connections tried
  }
  map nodeports {        # protocol . node port -> flags, list
    type inet_proto . inet_service : mark
    counter
  }
  set traffic {          # virtual address . protocol . port
    type $ADDR . inet_proto . inet_service
    counter              # of all packets, both ways
  }
  set node-traffic {     # protocol . node port
    type inet_proto . inet_service
    counter
  }
  set rejected {         # why . list, made by the packets: turned away
    type mark
    flags dynamic
    size 65535
  }
  map shortcuts {        # flags, local list -> flags, cluster list (P6)
    type mark : mark
  }
  map counts {           # list -> class
    type mark : mark
  }
  map classes {          # class -> chain
    type mark : verdict
  }
  map backends {         # list . slot or ticket -> endpoint
    type mark . mark : $ADDR . inet_service
  }
  map tickets {          # sticky list . slot -> ticket
    type mark . mark : mark
  }
  set members {          # sticky list . ticket
    type mark . mark
  }
  map affinity {         # client (or its hash) . sticky list -> ticket
    type $CLIENT . mark : mark
    flags dynamic,timeout
    size 65535
  }
  set cluster-ips {
    type $ADDR
  }
  set node-addresses {   # of this node
    type $ADDR
  }
  set hairpins {         # endpoint . the same endpoint (P2)
    type $ADDR . $ADDR
  }
  set source-ranges {    # load balancer address . protocol . port . allowed source (P12)
    type $ADDR . inet_proto . inet_service . $ADDR
    flags interval
  }
  set inside {           # pods, Services, nodes: a pod keeps its source towards these (P19)
    type $ADDR
    flags interval
  }
  set own-pods {         # pod blocks of this node
    type $ADDR
    flags interval
  }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject
  }
  chain refused {        # no endpoint anywhere
    meta mark set meta mark or 0x10000000
    add @rejected { meta mark counter }
    goto refuse
  }
  chain dropped {        # no endpoint here
    meta mark set meta mark or 0x20000000
    add @rejected { meta mark counter }
    drop
  }
  chain barred {         # not from this source
    meta mark set meta mark and 0x000fffff or 0x30000000
    add @rejected { meta mark counter }
    drop
  }
  chain shortcut {
    $IP saddr $LOCAL meta mark set meta mark map @shortcuts return
    fib saddr type local meta mark set meta mark map @shortcuts
  }
  chain dispatch {
    meta mark set 0
    meta mark set $IP daddr . meta l4proto . th dport map @frontends
    meta mark 0 $IP daddr @node-addresses meta mark set meta l4proto . th dport map @nodeports
    meta mark 0 return
    meta mark and 0x10000000 != 0 $IP daddr . meta l4proto . th dport . $IP saddr != @source-ranges goto barred
    meta mark and 0x20000000 != 0 jump shortcut
    meta mark and 0x80000000 != 0 ct label set 1
    meta mark and 0x40000000 != 0 $IP saddr != $LOCAL ct label set 1
    meta mark set meta mark and 0x000fffff
    ct mark set meta mark map @counts
    ct mark vmap @classes
  }
  chain undefined {      # P4
    $IP daddr @cluster-ips goto refuse
    $IP daddr $SERVICES drop
  }
  chain nat-pre {
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto { tcp, udp, sctp } jump dispatch
    jump undefined
  }
  chain nat-out {
    type nat hook output priority -100; policy accept;
    meta l4proto { tcp, udp, sctp } jump dispatch
    jump undefined
  }
  chain nat-post {
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat $IP saddr . $IP daddr @hairpins $SNAT
    ct label 1 $SNAT
    ct status dnat $IP saddr $PODS $IP saddr != @own-pods $IP daddr != @own-pods $SNAT
    $IP saddr $PODS $IP daddr != @inside $SNAT
  }
  chain invalid {        # P17
    type filter hook forward priority filter; policy accept;
    ct state invalid drop
  }
  chain measure {        # bytes, where the connection was translated
    meta l4proto tcp ct original $IP daddr . meta l4proto . ct original proto-dst @traffic return
    meta l4proto udp ct original $IP daddr . meta l4proto . ct original proto-dst @traffic return
    meta l4proto sctp ct original $IP daddr . meta l4proto . ct original proto-dst @traffic return
    meta l4proto tcp meta l4proto . ct original proto-dst @node-traffic
    meta l4proto udp meta l4proto . ct original proto-dst @node-traffic
    meta l4proto sctp meta l4proto . ct original proto-dst @node-traffic
  }
  chain measure-out {    # what leaves towards pods and other nodes
    type filter hook postrouting priority mangle; policy accept;
    ct status dnat jump measure
  }
  chain measure-in {     # what arrives for the node itself
    type filter hook input priority filter; policy accept;
    ct status dnat jump measure
  }
}
"""

_POLICY_HEAD = """\
table $IP podwire-np {
  map identity {         # pod address -> identity
    type $ADDR : mark
  }
  map cidr-identity {    # disjoint blocks of all ipBlocks -> identity
    type $ADDR : mark
    flags interval
  }
  map port-class {       # protocol . ports -> class
    type inet_proto . inet_service : mark
    flags interval
  }
  map rules-out {        # local pod . peer identity . port class (0 any) -> decision
    type $ADDR . mark . mark : mark
  }
  map rules-in {
    type $ADDR . mark . mark : mark
  }
  map isolated-out {     # local pod -> default decision
    type $ADDR : mark
  }
  map isolated-in {
    type $ADDR : mark
  }
  set own-pairs {        # local pod . itself (N16)
    type $ADDR . $ADDR
  }
  map self-pairs {       # local pod . itself or its node -> identity, under a ClusterNetworkPolicy (C7, C8)
    type $ADDR . $ADDR : mark
  }
  set hits {             # decision -> packets it was about
    type mark
    size 1048576
    flags dynamic
    counter
  }
"""

_LOOK = """\
  chain denied-$WAY {
    ct status dnat log prefix "podwire-np $WAY nat" group 41 snaplen 96 drop
    log prefix "podwire-np $WAY" group 41 snaplen 96 drop
  }
  chain audited-$WAY {
    ct status dnat log prefix "podwire-np $WAY nat" group 41 snaplen 96 return
    log prefix "podwire-np $WAY" group 41 snaplen 96
  }
  chain look-$WAY {
    meta mark set 0
    meta mark set $IP $SUBJECT map @isolated-$WAY
    meta mark 0 return
    ct mark set 0
    ct mark set $IP $PEER map @cidr-identity
    ct mark set $IP $PEER map @identity
    ct mark set $IP saddr . $IP daddr map @self-pairs
    meta mark set 0
    meta l4proto { tcp, udp, sctp } meta mark set meta l4proto . th dport map @port-class
    meta mark set $IP $SUBJECT . ct mark . meta mark map @rules-$WAY
    meta mark and 0x80000000 == 0 meta mark set 0
    meta mark and 0x80000000 == 0 meta mark set $IP $SUBJECT . ct mark . meta mark map @rules-$WAY
    meta mark and 0x80000000 == 0 meta mark set $IP $SUBJECT map @isolated-$WAY
    update @hits { meta mark }
    meta mark and 0x70000000 == 0x20000000 goto denied-$WAY
    meta mark and 0x70000000 == 0x40000000 jump audited-$WAY
    ct mark set meta mark and 0x000fffff
  }
"""

_POLICY_TAIL = """\
  chain cut {            # connections that a changed policy forbids (N19)
    meta l4proto tcp reject with tcp reset
    drop
  }
  chain forward {        # after DNAT, before SNAT; a node's own traffic does not pass here (N17)
    type filter hook forward priority 10; policy accept;
$FREE    ct label 2 goto cut
    ct state established,related accept
    $IP saddr . $IP daddr @own-pairs accept
    jump look-out
    jump look-in
  }
  chain input {          # a pod to its own node: only where a ClusterNetworkPolicy may mean that (C8)
    type filter hook input priority 10; policy accept;
$FREE    ct label 2 goto cut
    ct state established,related accept
    meta mark set 0
    meta mark set $IP saddr . $IP daddr map @self-pairs
    meta mark != 0 jump look-out
  }
}
"""


_CLIENT = {"ip": "ip saddr", "ip6": "jhash ip6 saddr mod 0xffffffff seed 0x1"}
"""How ``affinity`` spells a client: nft 1.0.6 gives the key of a map that rules write to 16 bytes and corrupts what is
longer (``docs/lab/2026-11-28-nft-ip6.md``). Two IPv6 clients of one hash share an endpoint, which harms neither."""

_FREE = {
    4: "",
    6: "    icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept\n",
}
"""Without neighbour discovery there is no IPv6, as there is no IPv4 without ARP: never a matter of policy."""


def format_services(family: Family, *, snat: str, pods: str, services: str, local: str = "") -> str:
    """The rule text of one family's Service table on one node.

    ``snat`` is the node's address, or empty while it has none: then masquerade chooses, which is wrong only for
    hairpins. ``pods`` and ``services`` are nft expressions for the cluster's blocks (``10.0.0.0/8`` or ``{ ... }``),
    ``local`` is one for the pods that are inside; without it all are.
    """
    own = {
        "$SNAT": f"snat to {snat}" if snat else "masquerade",
        "$PODS": pods,
        "$SERVICES": services,
        "$LOCAL": local or pods,
    }
    return _fill(_SERVICES, family, own)


def format_policy(family: Family) -> str:
    """The rule text of one family's policy table: the same on every node."""
    look_out = _LOOK.replace("$WAY", "out").replace("$SUBJECT", "saddr").replace("$PEER", "daddr")
    look_in = _LOOK.replace("$WAY", "in").replace("$SUBJECT", "daddr").replace("$PEER", "saddr")
    return _fill(_POLICY_HEAD + look_out + look_in + _POLICY_TAIL, family, {})


def _fill(text: str, family: Family, words: Mapping[str, str]) -> str:
    of_family = {
        "$IP": family.nft,
        "$ADDR": f"ipv{family.number}_addr",
        "$CLIENT": "ipv4_addr" if family.number == 4 else "mark",
        "$FREE": _FREE[family.number],
    }
    for name, word in {**words, **of_family}.items():
        text = text.replace(name, word)
    return text


def ready_classes(family: Family) -> set[BackendClass]:
    """The classes that exist from the start."""
    return {BackendClass(count, family=family.nft) for count in range(1, READY_COUNTS + 1)}


def format_ready_classes(family: Family, draw: Draw) -> str:
    """Their chains, and the two verdicts without one."""
    chains = "".join(format_class(wanted, draw) for wanted in sorted(ready_classes(family)))
    return chains + f"add element {family.classes} {{ 0xffffffff : goto refused, 0xfffffffe : goto dropped }}\n"


_ASK = {
    "ip": ("ct mark set 0", "ct mark set ip saddr . meta mark map @affinity"),
    "ip6": (f"ct mark set {_CLIENT['ip6']}", "ct mark set ct mark . meta mark map @affinity"),
}
"""A miss leaves 0 or the client's hash: neither is a ticket anybody holds, or it is as good as a draw."""


_DRAWS: Mapping[Draw, str] = {
    "random": "numgen random mod {count}",
    "in-turn": "numgen inc mod {count}",
    "by-client": "jhash {ip} saddr mod {count} seed 0x1",
}
"""In turn: over all Services with as many endpoints, which share the chain."""


def format_class(wanted: BackendClass, draw: Draw = "random") -> str:
    """Commands that add the chain of one class and its entry in ``classes``."""
    name, table = wanted.chain, f"{wanted.family} {SVC}"
    to_backend = (
        f"meta l4proto {{ tcp, udp, sctp }} dnat {wanted.family} addr . port to meta mark . ct mark map @backends"
    )
    # A modulus of 1 would draw nothing: nft refuses to hash by it.
    how = "random" if wanted.count == 1 else draw
    choose = f"ct mark set {_DRAWS[how].format(count=wanted.count, ip=wanted.family)}"
    if not wanted.affinity_seconds:
        chains: dict[str, tuple[str, ...]] = {name: (choose, to_backend)}
    else:
        pick, client = f"pick-{name}", f"{_CLIENT[wanted.family]} . meta mark timeout {wanted.affinity_seconds}s"
        chains = {
            pick: (choose, "ct mark set meta mark . ct mark map @tickets"),
            name: (
                *_ASK[wanted.family],
                # A ticket nobody holds any more, or none yet: draw anew (P11: a gone endpoint loses its clients).
                f"meta mark . ct mark != @members jump {pick}",
                f"update @affinity {{ {client} : ct mark }}",
                to_backend,
            ),
        }
    lines = [f"add chain {table} {chain}" for chain in chains]
    lines += [f"add rule {table} {chain} {rule}" for chain, rules in chains.items() for rule in rules]
    lines.append(f"add element {table} classes {{ 0x{wanted.number:08x} : goto {name} }}")
    return "\n".join(lines) + "\n"
