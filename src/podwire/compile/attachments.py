"""Pods for containers that other runtimes attached to a node's network (CNI).

Rules:

1. A pod with the annotation ``podwire.dev/attached`` is not run by podwire: its runtime joins it to the network.
2. A container that is attached under a name nobody created has a pod made for it, as a kubelet makes one for a static
   pod: bound to its node, with the labels and ports it came with. Its annotation names the container.
3. A pod that was made goes when its container was taken away: the node says that nothing is attached in its name.
4. The namespace must exist; that it does not is what the API answers, and the attachment fails.
"""

from functools import partial

from podwire.base import NOWHERE, Origin, Ref
from podwire.compile.context import Context, Piece
from podwire.kube import Pod
from podwire.plan import AttachmentFact, Create, Json, Remove, Write
from podwire.plan.node import ATTACHED, BY_USER

CONTAINER, IMAGE = "attached", "podwire.dev/attached"


def is_attached(pod: Pod) -> bool:
    """Rule 1."""
    return ATTACHED in pod.metadata.annotations


def compile_attachments(context: Context) -> Piece:
    """Pods that come and go with attachments."""
    writes: dict[str, Write] = {}
    for fact in context.snapshot.facts.attachments.values():
        pod = context.snapshot.get(Pod, fact.namespace, fact.name)
        if pod is None and fact.state == "attached":
            key = f"attached/Pod/{fact.namespace}/{fact.name}"
            writes[key] = context.memo.unit(f"write/{key}", (fact,), partial(_create, fact))
        elif pod is not None and fact.state == "gone" and _is_made_for(pod, fact.container):
            write = partial(Remove, Origin(pod.ref), pod.ref, "v1", pod.metadata.uid, 0)
            writes[f"detached/Pod/{pod.key}"] = context.memo.unit(f"write/detached/{pod.metadata.uid}", (), write)
    return Piece(writes=writes)


def _is_made_for(pod: Pod, container: str) -> bool:
    return pod.metadata.annotations.get(ATTACHED, BY_USER) == container and pod.metadata.deletion_timestamp is None


def _create(fact: AttachmentFact) -> Create:
    ref = Ref("Pod", fact.namespace, fact.name)
    meta: Json = {
        "name": fact.name,
        "namespace": fact.namespace,
        "labels": dict(fact.labels),
        "annotations": {ATTACHED: fact.container},
    }
    container: Json = {"name": CONTAINER, "image": IMAGE, "ports": [_port(*port) for port in fact.ports]}
    spec: Json = {"nodeName": fact.node, "containers": [container], "automountServiceAccountToken": False}
    body: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    return Create(Origin(ref, NOWHERE), ref, "v1", body)


def _port(host: int, container: int, protocol: str, address: str) -> Json:
    port: Json = {"containerPort": container, "hostPort": host, "protocol": protocol}
    return {**port, "hostIP": address} if address else port
