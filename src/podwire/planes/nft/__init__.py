"""Services and NetworkPolicy in the kernel: constant nftables rules, everything else as elements.

Owns the tables ``podwire-svc`` and ``podwire-np`` in each node's network namespace and nothing else. Layout and
packet paths: ``docs/design/services.md``, ``docs/design/policy.md``.
"""

from podwire.planes.nft.driver import NftDriver
from podwire.planes.nft.fake import FakeNft
from podwire.planes.nft.render import render_node
from podwire.planes.nft.tables import NftPlan, NodeTables

__all__ = ["FakeNft", "NftDriver", "NftPlan", "NodeTables", "render_node"]
