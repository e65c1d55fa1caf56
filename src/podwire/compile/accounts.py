"""How a program in a pod reaches the API: its ServiceAccount's token, the CA, the namespace, and the address.

Rules:

1. A program gets the volume that Kubernetes' admission adds to every pod, at the usual place, unless the pod says
   ``automountServiceAccountToken: false`` or has something there already. Stand-ins run no program and get none.
2. ``KUBERNETES_SERVICE_HOST`` and its companions are set as a kubelet sets them; the container's own come first.

Source: kubernetes ``plugin/pkg/admission/serviceaccount/admission.go``, ``pkg/kubelet/envvars``.
"""

from collections.abc import Iterator

import msgspec

from podwire.base import Cidr, join_port
from podwire.compile.containers import Surroundings
from podwire.compile.images import OWN_PLANES, repository_of
from podwire.plan import node as plan
from podwire.plan.node import File, FileVolume, Mount, ProcessWork, TokenFile
from podwire.snapshot import Settings

PLACE = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME = "kube-api-access"
ROOT_CA = "kube-root-ca.crt"
TOKEN_SECONDS = 3607


def give_access(container: plan.Container, around: Surroundings, settings: Settings) -> plan.Container:
    """The container with the way to the API, when it runs a program of its own."""
    if not isinstance(container.work, ProcessWork) or repository_of(container.image) in OWN_PLANES:
        return container
    own = {name for name, _ in container.env}
    env = tuple((name, value) for name, value in _variables(settings) if name not in own)
    mounts = container.mounts
    if mounts_token(around) and all(mount.path != PLACE for mount in mounts):
        mounts = (*mounts, Mount(PLACE, VOLUME, "", True))
    return msgspec.structs.replace(container, env=(*env, *container.env), mounts=mounts)


def mounts_token(around: Surroundings) -> bool:
    """Whether programs of the pod get a token without asking."""
    return around.pod.spec.automount_service_account_token is not False


def access_volume(around: Surroundings) -> FileVolume:
    """Rule 1's volume."""
    namespace = around.pod.metadata.namespace
    authority = around.config_maps.get(f"{namespace}/{ROOT_CA}")
    files = [File("namespace", namespace.encode())]
    if authority is not None and "ca.crt" in authority.data:
        files.append(File("ca.crt", authority.data["ca.crt"].encode()))
    return FileVolume(VOLUME, tuple(files), (TokenFile("token", "", TOKEN_SECONDS),))


def _variables(settings: Settings) -> Iterator[tuple[str, str]]:
    host = str(Cidr.parse(settings.service_cidrs[0]).network[1])
    yield "KUBERNETES_SERVICE_HOST", host
    yield "KUBERNETES_SERVICE_PORT", "443"
    yield "KUBERNETES_SERVICE_PORT_HTTPS", "443"
    yield "KUBERNETES_PORT", f"tcp://{join_port(host, 443)}"
    yield "KUBERNETES_PORT_443_TCP", f"tcp://{join_port(host, 443)}"
    yield "KUBERNETES_PORT_443_TCP_PROTO", "tcp"
    yield "KUBERNETES_PORT_443_TCP_PORT", "443"
    yield "KUBERNETES_PORT_443_TCP_ADDR", host
