"""Which endpoints of a Service are proxied."""

import pytest

from podwire.compile import compile_plans
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing.build import NOW, endpoint, endpoint_slice, service


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.7.7", "0.0.0.0", "224.0.0.1", "239.9.9.9"])
def test_addresses_that_lead_nowhere_else_are_not_proxied(address: str) -> None:
    builder = SnapshotBuilder(Settings(planes=False))
    builder.put(service("a/red", "10.96.0.1"))
    builder.put(endpoint_slice("a/red", endpoint("240.0.0.9"), endpoint("9.0.0.1"), endpoint(address)))
    plans = compile_plans(builder.snapshot(NOW))
    assert [e.address for e in plans.services.ports["a/red:80/TCP"].endpoints] == ["9.0.0.1", "240.0.0.9"]
    assert [f.code for f in plans.findings] == ["PW1119"]
