"""The wires of a cluster as a value: what one process writes down and the next one goes on with."""

import msgspec

from podwire.plan.node import Node


class Record(msgspec.Struct, frozen=True):
    """``shape``: what all wires depend on. ``nodes``: each with the name of its port on the bridge. ``starts``: how
    many processes went on with them, which keeps the numbers of links apart."""

    shape: tuple[str, ...]
    nodes: dict[str, tuple[Node, str]]
    routes: dict[str, str]
    next_port: int
    starts: int
