"""The constant rule text of a node: two tables, few chains, no rule for any Service, endpoint, pod or policy.

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

from podwire.planes.nft.tables import BackendClass

READY_COUNTS = 64
"""lb1 to lb64 exist from the start: a new chain makes the kernel validate the whole table again."""

_SERVICES = """\
table ip podwire-svc {
  map frontends {        # virtual address . protocol . port -> flags, list
    type ipv4_addr . inet_proto . inet_service : mark
  }
  map nodeports {        # protocol . node port -> flags, list
    type inet_proto . inet_service : mark
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
    type mark . mark : ipv4_addr . inet_service
  }
  map tickets {          # sticky list . slot -> ticket
    type mark . mark : mark
  }
  set members {          # sticky list . ticket
    type mark . mark
  }
  map affinity {         # client . sticky list -> ticket
    type ipv4_addr . mark : mark
    flags dynamic,timeout
    size 65535
  }
  set cluster-ips {
    type ipv4_addr
  }
  set node-addresses {   # of this node
    type ipv4_addr
  }
  set hairpins {         # endpoint . the same endpoint (P2)
    type ipv4_addr . ipv4_addr
  }
  set source-ranges {    # load balancer address . protocol . port . allowed source (P12)
    type ipv4_addr . inet_proto . inet_service . ipv4_addr
    flags interval
  }
  set inside {           # pods, Services, nodes: a pod keeps its source towards these (P19)
    type ipv4_addr
    flags interval
  }
  set own-pods {         # pod blocks of this node
    type ipv4_addr
    flags interval
  }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject
  }
  chain shortcut {
    ip saddr $PODS meta mark set meta mark map @shortcuts return
    fib saddr type local meta mark set meta mark map @shortcuts
  }
  chain dispatch {
    meta mark set 0
    meta mark set ip daddr . meta l4proto . th dport map @frontends
    meta mark 0 ip daddr @node-addresses meta mark set meta l4proto . th dport map @nodeports
    meta mark 0 return
    meta mark and 0x10000000 != 0 ip daddr . meta l4proto . th dport . ip saddr != @source-ranges drop
    meta mark and 0x20000000 != 0 jump shortcut
    meta mark and 0x80000000 != 0 ct label set 1
    meta mark and 0x40000000 != 0 ip saddr != $PODS ct label set 1
    meta mark set meta mark and 0x000fffff
    ct mark set meta mark map @counts
    ct mark vmap @classes
  }
  chain undefined {      # P4
    ip daddr @cluster-ips goto refuse
    ip daddr $SERVICES drop
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
    ct status dnat ip saddr . ip daddr @hairpins $SNAT
    ct label 1 $SNAT
    ct status dnat ip saddr $PODS ip saddr != @own-pods ip daddr != @own-pods $SNAT
    ip saddr $PODS ip daddr != @inside $SNAT
  }
  chain invalid {        # P17
    type filter hook forward priority filter; policy accept;
    ct state invalid drop
  }
}
"""

_POLICY_HEAD = """\
table ip podwire-np {
  map identity {         # pod address -> identity
    type ipv4_addr : mark
  }
  map cidr-identity {    # disjoint blocks of all ipBlocks -> identity
    type ipv4_addr : mark
    flags interval
  }
  map port-class {       # protocol . ports -> class
    type inet_proto . inet_service : mark
    flags interval
  }
  map rules-out {        # local pod . peer identity . port class (0 any) -> decision
    type ipv4_addr . mark . mark : mark
  }
  map rules-in {
    type ipv4_addr . mark . mark : mark
  }
  map isolated-out {     # local pod -> default decision
    type ipv4_addr : mark
  }
  map isolated-in {
    type ipv4_addr : mark
  }
  set own-pairs {        # local pod . itself (N16)
    type ipv4_addr . ipv4_addr
  }
  map self-pairs {       # local pod . itself -> identity of itself, under a ClusterNetworkPolicy (C7)
    type ipv4_addr . ipv4_addr : mark
  }
"""

_LOOK = """\
  chain denied-$WAY {
    ct status dnat log prefix "podwire-np $WAY nat" group 41 snaplen 96 drop
    log prefix "podwire-np $WAY" group 41 snaplen 96 drop
  }
  chain look-$WAY {
    meta mark set 0
    meta mark set ip $SUBJECT map @isolated-$WAY
    meta mark 0 return
    ct mark set 0
    ct mark set ip $PEER map @cidr-identity
    ct mark set ip $PEER map @identity
    ct mark set ip saddr . ip daddr map @self-pairs
    meta mark set 0
    meta l4proto { tcp, udp, sctp } meta mark set meta l4proto . th dport map @port-class
    meta mark set ip $SUBJECT . ct mark . meta mark map @rules-$WAY
    meta mark and 0x80000000 == 0 meta mark set 0
    meta mark and 0x80000000 == 0 meta mark set ip $SUBJECT . ct mark . meta mark map @rules-$WAY
    meta mark and 0x80000000 == 0 meta mark set ip $SUBJECT map @isolated-$WAY
    meta mark and 0x70000000 == 0x20000000 goto denied-$WAY
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
    ct label 2 goto cut
    ct state established,related accept
    ip saddr . ip daddr @own-pairs accept
    jump look-out
    jump look-in
  }
}
"""


def format_rules(*, snat: str, pods: str, services: str) -> str:
    """The rule text of one node.

    ``snat`` is the node's address, or empty while it has none: then masquerade chooses, which is wrong only for
    hairpins. ``pods`` and ``services`` are nft expressions for the cluster's blocks (``10.0.0.0/8`` or ``{ ... }``).
    """
    services_text = _SERVICES.replace("$SNAT", f"snat to {snat}" if snat else "masquerade")
    services_text = services_text.replace("$PODS", pods).replace("$SERVICES", services)
    look_out = _LOOK.replace("$WAY", "out").replace("$SUBJECT", "saddr").replace("$PEER", "daddr")
    look_in = _LOOK.replace("$WAY", "in").replace("$SUBJECT", "daddr").replace("$PEER", "saddr")
    return services_text + _POLICY_HEAD + look_out + look_in + _POLICY_TAIL


def format_ready_classes() -> str:
    """The chains that exist from the start, and the two verdicts without one."""
    chains = "".join(format_class(BackendClass(n)) for n in range(1, READY_COUNTS + 1))
    return chains + "add element ip podwire-svc classes { 0xffffffff : goto refuse, 0xfffffffe : drop }\n"


def format_class(wanted: BackendClass) -> str:
    """Commands that add the chain of one class and its entry in ``classes``."""
    name = wanted.chain
    to_backend = "meta l4proto { tcp, udp, sctp } dnat ip addr . port to meta mark . ct mark map @backends"
    draw = f"ct mark set numgen random mod {wanted.count}"
    if not wanted.affinity_seconds:
        chains: dict[str, tuple[str, ...]] = {name: (draw, to_backend)}
    else:
        pick = f"pick-{name}"
        chains = {
            pick: (draw, "ct mark set meta mark . ct mark map @tickets"),
            name: (
                "ct mark set 0",
                "ct mark set ip saddr . meta mark map @affinity",
                # A ticket nobody holds any more, or none yet: draw anew (P11: a gone endpoint loses its clients).
                f"meta mark . ct mark != @members jump {pick}",
                f"update @affinity {{ ip saddr . meta mark timeout {wanted.affinity_seconds}s : ct mark }}",
                to_backend,
            ),
        }
    lines = [f"add chain ip podwire-svc {chain}" for chain in chains]
    lines += [f"add rule ip podwire-svc {chain} {rule}" for chain, rules in chains.items() for rule in rules]
    lines.append(f"add element ip podwire-svc classes {{ 0x{wanted.number:08x} : goto {name} }}")
    return "\n".join(lines) + "\n"
