"""A DNS server without sockets for tests: a Corefile, an upstream that is a function, and a clock that stands."""

import json
from collections.abc import Callable

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import msgspec

from podwire.base import Origin, Ref
from podwire.compile.corefile_blocks import compile_corefile
from podwire.planes.dns.chain import Arrival
from podwire.planes.dns.frames import blocks_of
from podwire.planes.dns.machine import Forward, Reply, Responder, complete, fail
from podwire.planes.dns.table import Meta, Table

Upstream = Callable[[dns.message.Message], dns.message.Message | None]
ORIGIN = Origin(Ref("ConfigMap", "kube-system", "coredns"))
Z = "cluster.local"
SOA = f"ns.dns.{Z} hostmaster.{Z} 1 7200 1800 86400 30"


class Rig:
    """A server with a Corefile, an upstream that is a function, and a clock that stands."""

    def __init__(self, corefile: str, upstream: Upstream | None = None, **files: str) -> None:
        self.now = 1000.0
        self.asked: list[str] = []
        self.lines: list[str] = []
        self.upstream: Upstream | None = upstream
        self.responder = Responder(say=lambda level, text: self.lines.append(text), clock=lambda: self.now)
        found = compile_corefile(corefile, ORIGIN, resolv_conf=("192.0.2.53",), files=files).config
        blocks = json.loads(msgspec.json.encode(blocks_of(found)))
        table = Table(Meta(Z, (), frozenset(), 30, 1, ("192.0.2.53",), (), blocks))
        table.put("apex", [(Z, "SOA", 30, SOA), (Z, "NS", 30, f"ns.dns.{Z}")])
        table.put("api", [(f"api.shop.svc.{Z}", "A", 30, "10.96.0.20"), (f"api.shop.svc.{Z}", "A", 30, "10.96.0.21")])
        table.put("ext", [(f"ext.shop.svc.{Z}", "CNAME", 30, "www.example.com")])
        self.responder.load(table)

    def arrival(self, client: str, **more: object) -> Arrival:
        return Arrival(client, 4000, False, self.now, "10.244.0.2")._replace(**more)  # type: ignore[arg-type]

    def ask(self, name: str, rtype: str = "A", client: str = "10.244.0.9", **options: object) -> dns.message.Message:
        reply = self.raw(name, rtype, client, **options)
        assert isinstance(reply, bytes)
        return dns.message.from_wire(reply)

    def raw(self, name: str, rtype: str = "A", client: str = "10.244.0.9", **options: object) -> bytes | None:
        query = dns.message.make_query(name, rtype, **{"use_edns": 0, **options})  # type: ignore[arg-type]
        reply = self.responder.reply(query.to_wire(), self.arrival(client))
        return self.finish(reply)

    def finish(self, reply: Reply) -> bytes | None:
        while isinstance(reply, Forward):
            request = dns.message.from_wire(reply.request)
            self.asked.append(f"{request.question[0].name} {dns.rdatatype.to_text(request.question[0].rdtype)}")
            answer = self.upstream(request) if self.upstream else None
            reply = complete(reply, answer.to_wire()) if answer is not None else fail(reply, "no answer")
        assert reply is None or isinstance(reply, bytes)
        return reply

    def run_background(self) -> None:
        waiting, self.responder.background = self.responder.background, []
        for forward in waiting:
            self.finish(forward)


def answering(*records: str, rcode: int = 0, authority: str = "") -> Upstream:
    """An upstream that gives these records (``name ttl type data``) where the name fits the question."""

    def upstream(query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        reply.set_rcode(dns.rcode.Rcode(rcode))
        question = query.question[0]
        for text in records:
            name, ttl, rtype, data = text.split(" ", 3)
            if question.name.to_text() == name and rtype == dns.rdatatype.to_text(question.rdtype):
                reply.answer.append(dns.rrset.from_text(name, int(ttl), "IN", rtype, data))
        if authority:
            name, ttl, rtype, data = authority.split(" ", 3)
            reply.authority.append(dns.rrset.from_text(name, int(ttl), "IN", rtype, data))
        return reply

    return upstream


def data(message: dns.message.Message) -> list[str]:
    return sorted(f"{r.name} {r.ttl} {dns.rdatatype.to_text(r.rdtype)} {i}" for r in message.answer for i in r)


def ede(message: dns.message.Message) -> tuple[int, str] | None:
    found = [o for o in message.options if isinstance(o, dns.edns.EDEOption)]
    return (int(found[0].code), found[0].text or "") if found else None
