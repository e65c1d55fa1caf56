"""Results and errors of the CNI plugin, as each version of the specification spells them. Pure."""

from typing import TYPE_CHECKING, Any

import msgspec

from podwire.node.attach_words import Answer

if TYPE_CHECKING:
    from podwire.cli.cni_config import Config, Environment

Json = dict[str, Any]
SUPPORTED = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


def format_error(version: str, answer: Answer) -> str:
    """The error object (SPEC section 5)."""
    said: Json = {"cniVersion": version, "code": answer.code, "msg": answer.message}
    return msgspec.json.encode(said | ({"details": answer.details} if answer.details else {})).decode()


def format_result(config: "Config", environment: "Environment", answer: Answer) -> str:
    """The result of ADD: what ``prevResult`` had, then the node's link, the container's, its address and routes."""
    made = answer.attachment
    assert made is not None
    result: Json = {**(config.previous or {}), "cniVersion": config.version}
    before = list(result.get("interfaces") or ())
    node_end: Json = {"name": made.link, "mac": answer.link_mac, "mtu": answer.mtu}
    far_end: Json = {"name": environment.interface, "mac": made.mac, "mtu": answer.mtu, "sandbox": environment.netns}
    places = list(zip(made.addresses, answer.gateways, strict=True))
    ips = [_ip(address, gateway, config.version) | {"interface": len(before) + 1} for address, gateway in places]
    if config.version != "1.1.0":
        del node_end["mtu"], far_end["mtu"]
    result["interfaces"] = [*before, node_end, far_end]
    result["ips"] = [*(result.get("ips") or ()), *ips]
    result["routes"] = [*(result.get("routes") or ()), *_routes(answer.gateways)]
    result["dns"] = _dns(config, answer)
    return msgspec.json.encode(result).decode() + "\n"


def _ip(address: str, gateway: str, version: str) -> Json:
    family, width = ("6", 128) if ":" in address else ("4", 32)
    plain: Json = {"address": f"{address}/{width}", "gateway": gateway}
    return {"version": family, **plain} if version < "1.0.0" else plain


def _routes(gateways: tuple[str, ...]) -> list[Json]:
    return [{"dst": "::/0" if ":" in gateway else "0.0.0.0/0", "gw": gateway} for gateway in gateways]


def _dns(config: "Config", answer: Answer) -> Json:
    """What the configuration or the runtime says, else the pod's resolv.conf."""
    if config.dns is not None:
        return {k: v for k, v in msgspec.to_builtins(config.dns).items() if v}
    words = [line.split() for line in answer.resolv_conf.splitlines()]
    found: Json = {"nameservers": [w[1] for w in words if w[0] == "nameserver"]}
    found["search"] = [name for w in words if w[0] == "search" for name in w[1:]]
    found["options"] = [option for w in words if w[0] == "options" for option in w[1:]]
    return {k: v for k, v in found.items() if v}
