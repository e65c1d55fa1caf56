"""Annotations that tell a cloud's load balancer what to do, and what becomes of them here.

Rules:

1. Every annotation of a known cloud on a LoadBalancer Service is in one finding of the Service: an info, or a warning
   where a client or backend would see something else than on the cloud.
2. Annotations of nobody known are not podwire's to judge.
"""

from collections.abc import Iterator

from podwire.base import FieldPath, Finding
from podwire.kube import Service

CODE = "PW1132"
PREFIXES = (
    "service.beta.kubernetes.io/aws-", "service.beta.kubernetes.io/azure-", "service.beta.kubernetes.io/do-",
    "service.beta.kubernetes.io/oci-", "service.beta.kubernetes.io/linode-", "service.beta.kubernetes.io/scw-",
    "cloud.google.com/", "networking.gke.io/", "load-balancer.hetzner.cloud/", "oci.oraclecloud.com/",
    "metallb.io/", "metallb.universe.tf/", "lbipam.cilium.io/", "io.cilium/lb-ipam", "kube-vip.io/",
    "loadbalancer.openstack.org/", "service.beta.kubernetes.io/alibaba-", "service.kubernetes.io/ibm-",
    "service.beta.kubernetes.io/exoscale-", "service.beta.kubernetes.io/vultr-",
)  # fmt: skip
VISIBLE = (
    ("proxy-protocol", "the backends get no PROXY protocol header and see the client as externalTrafficPolicy says"),
    ("proxyprotocol", "the backends get no PROXY protocol header and see the client as externalTrafficPolicy says"),
    ("proxy_protocol", "the backends get no PROXY protocol header and see the client as externalTrafficPolicy says"),
    ("ssl-", "TLS is not terminated: the backends get the client's bytes"),
    ("tls-", "TLS is not terminated: the backends get the client's bytes"),
    ("certificate", "TLS is not terminated: the backends get the client's bytes"),
    ("internal", "the address is reachable from this machine only in any case"),
    ("scheme", "the address is reachable from this machine only in any case"),
    ("load-balancer-type", "one kind of load balancer is simulated: layer 4, by node ports and rules of the nodes"),
    ("nlb", "one kind of load balancer is simulated: layer 4, by node ports and rules of the nodes"),
    ("loadbalancerips", "the address is chosen by spec.loadBalancerIP"),
    ("load-balancer-ip", "the address is chosen by spec.loadBalancerIP"),
)
"""What a part of the name is about, and what happens here instead; the first that fits counts."""
CHANGES_BYTES = ("PROXY", "TLS")


def find_cloud_annotations(service: Service) -> Iterator[Finding]:
    """One finding an annotation (rule 1)."""
    for name in sorted(service.metadata.annotations):
        if not name.startswith(PREFIXES):
            continue
        value = service.metadata.annotations[name]
        key = name.partition("/")[2].lower()
        effect = next((text for part, text in VISIBLE if part in key), "it has no effect here")
        off = value.lower() in ("false", "")
        severe = not off and any(word in effect for word in CHANGES_BYTES)
        message = f"{name}: {value!r} is for a cloud's load balancer and is not simulated: {effect}"
        path = FieldPath(f"metadata.annotations[{name}]")
        yield Finding(CODE, "warning" if severe else "info", service.ref, path, message, "do not rely on it here")
