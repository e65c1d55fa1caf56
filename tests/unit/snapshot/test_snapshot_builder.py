"""Snapshots share what did not change and never see later changes."""

from podwire.base import Ref
from podwire.kube import Service
from podwire.plan import EventFact, NodeFact, PodFact
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing.build import namespace, service


def test_a_snapshot_does_not_see_later_changes() -> None:
    builder = SnapshotBuilder(Settings())
    builder.put(service("a/one", "10.96.0.1"))
    before = builder.snapshot(0)
    builder.put(service("a/two", "10.96.0.2"))
    builder.remove("Service", "a/one")
    assert list(before.all(Service)) == ["a/one"]
    assert list(builder.snapshot(0).all(Service)) == ["a/two"]


def test_untouched_kinds_and_objects_are_shared() -> None:
    builder = SnapshotBuilder(Settings())
    builder.put(namespace("a"))
    builder.put(service("a/one", "10.96.0.1"))
    first = builder.snapshot(0)
    builder.put(service("a/two", "10.96.0.2"))
    second = builder.snapshot(0)
    assert second.objects["Namespace"] is first.objects["Namespace"]
    assert second.find(Ref("Service", "a", "one")) is first.find(Ref("Service", "a", "one"))


def test_tables_are_in_key_order_whatever_the_order_of_arrival() -> None:
    builder = SnapshotBuilder(Settings())
    for name in ("c", "a", "b"):
        builder.put(service(f"x/{name}", "10.96.0.1"))
    assert list(builder.snapshot(0).all(Service)) == ["x/a", "x/b", "x/c"]


def test_facts_that_say_nothing_new_are_told_apart() -> None:
    builder = SnapshotBuilder(Settings())
    assert builder.observe("n", NodeFact(ready=True))
    assert not builder.observe("n", NodeFact(ready=True))
    assert builder.observe("n", NodeFact(ready=False))
    assert builder.observe("u", PodFact(uid="u", node="n"))
    builder.forget_pod("u")
    assert builder.snapshot(0).facts.pods == {}
    event = EventFact("Pod", "a", "x", "u", "Normal", "Started", "x", "kubelet", 1.0)
    assert builder.observe("u", event)


def test_kinds_podwire_does_not_own_are_ignored() -> None:
    builder = SnapshotBuilder(Settings())
    builder.put({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "x"}})
    assert builder.snapshot(0).objects == {}
    assert builder.findings() == ()
