"""Which established connections a changed policy cuts (N19)."""

from podwire.base import Ref
from podwire.plan import Decision, PolicyPlan, PolicyPod
from podwire.planes.nft.cut import Established, Judge, Judged, is_stricter_possible
from podwire.planes.nft.wire import Tuple

DENY = 12
POD = PolicyPod(Ref("Pod", "t", "y"), "uid-y", "a", ("10.244.1.2",), (1,), {"ingress": DENY}, "")


def plan_of(*pods: PolicyPod) -> PolicyPlan:
    return PolicyPlan({p.pod.key: p for p in pods}, {}, (), {}, {DENY: Decision("deny", "ingress", ())})


def flow(client: str, *, cut: bool = False, server: str = "10.244.1.2") -> Established:
    asked = Tuple("TCP", client, 4000, "10.96.0.1", 80)
    return Established(asked, Tuple("TCP", server, 8080, client, 4000), cut, b"")


def judged(*flows: Established, node: str = "a") -> list[Judged]:
    return list(Judge(plan_of(POD), node=node, addresses=("10.89.0.2",)).judge(flows))


def test_a_forbidden_flow_is_cut_by_who_answers() -> None:
    (found,) = judged(flow("10.9.9.9"), flow("10.9.9.9", server="10.244.1.9"))
    assert found.direction == "ingress" and found.verdict is not None and found.verdict.number == DENY


def test_what_is_cut_already_or_decided_elsewhere_or_the_nodes_own_stays() -> None:
    assert judged(flow("10.9.9.9", cut=True)) == []
    assert judged(flow("10.9.9.9"), node="b") == []
    assert judged(flow("10.89.0.2")) == []


def test_what_is_allowed_again_is_healed() -> None:
    healed = flow("10.9.9.9", cut=True, server="10.244.1.9")
    assert judged(healed) == [Judged(healed)]


def test_only_changes_to_pods_that_were_there_matter() -> None:
    opened = PolicyPod(POD.pod, POD.uid, POD.node, POD.addresses, POD.identities, {}, "")
    assert is_stricter_possible(plan_of(opened), plan_of(POD))
    assert not is_stricter_possible(plan_of(POD), plan_of(POD))
    assert not is_stricter_possible(plan_of(), plan_of(POD))
