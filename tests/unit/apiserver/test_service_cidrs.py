"""ServiceCIDR and IPAddress: who has which address, and what a deletion waits for."""

import asyncio
from typing import Any

import pytest

from podwire.apiserver import ApiServer, ApiSettings, cidrs
from podwire.apiserver.chance import FixedChance
from podwire.apiserver.status import StatusError

Json = dict[str, Any]
BASE = "10.96.0.0/28"
EXTRA = "10.200.0.0/24"


def service(name: str, **spec: Any) -> Json:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}], **spec}}


def cidr(name: str, *blocks: str) -> Json:
    meta = {"name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": meta, "spec": {"cidrs": [*blocks]}}


def address(name: str, service_name: str = "x") -> Json:
    parent = {"resource": "services", "namespace": "default", "name": service_name}
    meta = {"name": name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": meta,
        "spec": {"parentRef": parent},
    }


def serve(body: Any, *blocks: str) -> None:
    async def main() -> None:
        chance = FixedChance()
        server = ApiServer(ApiSettings(addresses=(), service_cidrs=blocks or (BASE,)), chance=chance)
        await server.start()
        try:
            async with asyncio.timeout(30):
                await body(server, chance)
        finally:
            await server.stop()

    asyncio.run(main())


def ready(server: ApiServer, name: str) -> tuple[str, str]:
    found = server.get("ServiceCIDR", "", name)
    assert found is not None
    (condition,) = found["status"]["conditions"]
    return condition["status"], condition["reason"]


def test_what_is_there_at_the_start() -> None:
    async def body(server: ApiServer, chance: FixedChance) -> None:
        found = server.get("ServiceCIDR", "", "kubernetes")
        assert found is not None and found["spec"] == {"cidrs": [BASE]}
        assert found["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
        assert ready(server, "kubernetes") == ("True", "")
        own = server.get("IPAddress", "", "10.96.0.1")
        assert own is not None
        assert own["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": "kubernetes"}
        assert own["metadata"]["labels"] == {
            "ipaddress.kubernetes.io/ip-family": "IPv4",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }

    serve(body)


def test_another_block_gives_room_and_takes_it_back() -> None:
    async def body(server: ApiServer, chance: FixedChance) -> None:
        for number in range(13):
            await server.create(service(f"s{number}"))
        with pytest.raises(StatusError, match="range is full"):
            await server.create(service("more"))
        await server.create(cidr("extra", EXTRA))
        assert ready(server, "extra") == ("True", "")
        made = await server.create(service("more"))
        assert made["spec"]["clusterIP"].startswith("10.200.0.")
        assert server.get("IPAddress", "", made["spec"]["clusterIP"]) is not None
        await server.delete("ServiceCIDR", "", "extra")
        assert ready(server, "extra") == ("False", "Terminating")
        with pytest.raises(StatusError, match="range is full"):
            await server.create(service("again"))
        await server.merge("Service", "default", "more", {"metadata": {"labels": {"still": "mine"}}})

    serve(body)


def test_a_free_block_goes_after_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cidrs, "GRACE_SECONDS", 0.05)

    async def body(server: ApiServer, chance: FixedChance) -> None:
        await server.create(cidr("extra", EXTRA))
        made = await server.create(service("s", clusterIP="10.200.0.9"))
        feed = server.subscribe(["ServiceCIDR"])
        await server.delete("ServiceCIDR", "", "extra")
        await server.delete("Service", "default", "s", uid=made["metadata"]["uid"])
        assert server.get("IPAddress", "", "10.200.0.9") is None
        assert server.get("ServiceCIDR", "", "extra") is not None
        chance.advance(1)
        while server.get("ServiceCIDR", "", "extra") is not None:
            await feed.next()
        feed.close()

    serve(body)


def test_a_block_inside_another_may_go_with_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cidrs, "GRACE_SECONDS", 0.0)

    async def body(server: ApiServer, chance: FixedChance) -> None:
        await server.create(cidr("wide", "10.200.0.0/16"))
        await server.create(cidr("extra", EXTRA))
        await server.create(service("s", clusterIP="10.200.0.9"))
        await server.delete("ServiceCIDR", "", "extra")
        assert server.get("ServiceCIDR", "", "extra") is None
        await server.delete("ServiceCIDR", "", "wide")
        assert ready(server, "wide") == ("False", "Terminating")
        await server.create(cidr("back", EXTRA))
        assert server.get("ServiceCIDR", "", "wide") is None

    serve(body)


def test_addresses_follow_their_service() -> None:
    async def body(server: ApiServer, chance: FixedChance) -> None:
        made = await server.create(service("s", clusterIP="10.96.0.9"))
        await server.delete("IPAddress", "", "10.96.0.9")
        assert server.get("IPAddress", "", "10.96.0.9") is not None
        spec = {"type": "ExternalName", "externalName": "example.com"}
        await server.update({**made, "spec": {**spec, "ports": made["spec"]["ports"]}})
        assert server.get("IPAddress", "", "10.96.0.9") is None

    serve(body)


def test_a_reserved_address_is_taken() -> None:
    async def body(server: ApiServer, chance: FixedChance) -> None:
        await server.create(address("10.96.0.9"))
        with pytest.raises(StatusError, match="provided IP is already allocated"):
            await server.create(service("s", clusterIP="10.96.0.9"))
        await server.delete("IPAddress", "", "10.96.0.9")
        await server.create(service("s", clusterIP="10.96.0.9"))

    serve(body)


def test_both_families() -> None:
    async def body(server: ApiServer, chance: FixedChance) -> None:
        await server.create(cidr("extra", EXTRA, "fd00:200::/112"))
        spec = {"ipFamilyPolicy": "RequireDualStack", "clusterIPs": ["10.200.0.9", "fd00:200::9"]}
        await server.create(service("s", clusterIP="10.200.0.9", **spec))
        found = server.get("IPAddress", "", "fd00:200::9")
        assert found is not None and found["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] == "IPv6"

    serve(body, "10.96.0.0/16", "fd00:96::/112")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (cidr("x"), "spec.cidrs: Required value: at least one CIDR required"),
        (cidr("x", "10.0.0.0/24", "10.1.0.0/24"), "may specify no more than one IP for each IP family"),
        (cidr("x", "10.0.0.1/24"), "spec.cidrs[0]"),
        (cidr("x", "ten"), "must be a valid CIDR value"),
        (cidr("x", "fd00::/48"), "the shortest IPv6 prefix of Services is /64"),
        (address("010.0.0.1"), "must not have leading 0s"),
        (address("fd00::0:1"), 'must be in canonical form ("fd00::1")'),
        (address("name"), "must be a valid IP address"),
        ({**address("10.0.0.1"), "spec": {}}, "spec.parentRef: Required value"),
        (address("10.0.0.1", ""), "spec.parentRef.name: Required value"),
    ],
)
def test_what_is_refused(value: Json, words: str) -> None:
    async def body(server: ApiServer, chance: FixedChance) -> None:
        with pytest.raises(StatusError) as refused:
            await server.create(value)
        assert words in str(refused.value) and refused.value.code == 422

    serve(body)


def test_what_does_not_change() -> None:
    async def body(server: ApiServer, chance: FixedChance) -> None:
        await server.create(cidr("extra", EXTRA))
        made = server.get("ServiceCIDR", "", "extra")
        assert made is not None
        with pytest.raises(StatusError, match="field is immutable"):
            await server.update({**made, "spec": {"cidrs": ["10.201.0.0/24"]}})
        made = await server.update({**made, "spec": {"cidrs": [EXTRA, "fd00:200::/112"]}})
        with pytest.raises(StatusError, match="field is immutable"):
            await server.update({**made, "spec": {"cidrs": [EXTRA]}})
        await server.update({**made, "status": {"conditions": []}}, "status")
        assert ready(server, "extra") == ("True", "")

    serve(body)
