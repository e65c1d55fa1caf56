"""The machine's values to and from the protobuf messages of ``DeltaAggregatedResources``. Pure."""

from types import MappingProxyType

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from podwire.planes.envoy.machine import Request, Response, Type

_PREFIX = "type.googleapis.com/"
_URLS: MappingProxyType[Type, str] = MappingProxyType(
    {
        "cluster": _PREFIX + "envoy.config.cluster.v3.Cluster",
        "endpoint": _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "secret": _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret",
        "listener": _PREFIX + "envoy.config.listener.v3.Listener",
        "route": _PREFIX + "envoy.config.route.v3.RouteConfiguration",
    }
)
_TYPES: MappingProxyType[str, Type] = MappingProxyType({url: type_ for type_, url in _URLS.items()})


def node_of(data: bytes) -> str:
    """The node id of the first DeltaDiscoveryRequest of a stream."""
    return str(discovery_pb2.DeltaDiscoveryRequest.FromString(data).node.id)


def parse_request(data: bytes) -> Request | None:
    """The machine's form of a DeltaDiscoveryRequest; None for types we do not serve."""
    message = discovery_pb2.DeltaDiscoveryRequest.FromString(data)
    type_ = _TYPES.get(message.type_url)
    if type_ is None:
        return None
    return Request(
        type=type_,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
    )


def format_response(response: Response) -> bytes:
    """A DeltaDiscoveryResponse on the wire."""
    url = _URLS[response.type]
    message = discovery_pb2.DeltaDiscoveryResponse(
        type_url=url,
        nonce=response.nonce,
        removed_resources=response.removed,
        resources=[
            discovery_pb2.Resource(
                name=sent.name, version=sent.version, resource=any_pb2.Any(type_url=url, value=sent.body)
            )
            for sent in response.resources
        ],
    )
    return bytes(message.SerializeToString())
