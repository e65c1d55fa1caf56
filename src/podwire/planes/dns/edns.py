"""Options of a query's OPT record, put in and taken out (RFC 6891). Pure."""

from collections.abc import Iterator

from podwire.planes.dns import wire

NSID, SUBNET = 3, 8
_PLAIN_OPT = b"\0" + wire.OPT.to_bytes(2, "big") + wire.OUR_SIZE.to_bytes(2, "big") + b"\0\0\0\0"


def change_option(packet: bytes, code: int, data: bytes | None, *, how: str) -> bytes:
    """``packet``, a well-formed query, with the option set, appended (unless it is there), replaced (if it is there) or
    unset. ``data`` None is for ``unset``."""
    start, opt, end = _find_opt(packet)
    options = list(_options(packet[start + 11 : end])) if opt else []
    present = any(known == code for known, _ in options)
    if (how == "append" and present) or (how in ("replace", "unset") and not present):
        return packet
    kept = [(known, value) for known, value in options if known != code]
    if data is not None:
        kept.append((code, data))
    body = b"".join(known.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for known, value in kept)
    head = packet[start : start + 9] if opt else _PLAIN_OPT
    count = int.from_bytes(packet[10:12], "big") + (not opt)
    record = head + len(body).to_bytes(2, "big") + body
    return packet[:10] + count.to_bytes(2, "big") + packet[12:start] + record + packet[end:]


def _find_opt(packet: bytes) -> tuple[int, bool, int]:
    """Where the OPT record begins, whether there is one, and where it ends; without one: the end of the packet."""
    at = wire.skip_name(packet, 12, pointers=False) + 4
    for _ in range(int.from_bytes(packet[10:12], "big")):
        end = wire.skip_name(packet, at, pointers=True)
        after = end + 10 + int.from_bytes(packet[end + 8 : end + 10], "big")
        if packet[at] == 0 and packet[end + 1] == wire.OPT and packet[end] == 0:
            return at, True, after
        at = after
    return len(packet), False, len(packet)


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        yield int.from_bytes(data[at : at + 2], "big"), data[at + 4 : at + 4 + size]
        at += 4 + size


def subnet_data(address: str, v4_bits: int, v6_bits: int) -> bytes:
    """A client's network (RFC 7871 section 6)."""
    from ipaddress import ip_address

    packed = ip_address(address).packed
    family, bits = (1, v4_bits) if len(packed) == 4 else (2, v6_bits)
    size = -(-bits // 8)
    number = int.from_bytes(packed, "big") >> (8 * len(packed) - bits) << (8 * len(packed) - bits)
    return bytes((0, family, bits, 0)) + number.to_bytes(len(packed), "big")[:size]
