"""GET of NodeMetrics and PodMetrics: lists with selectors, one by name, tables."""

from typing import Any

import msgspec
from aiohttp.web import BaseRequest, Response

from podwire.apiserver.history import Item
from podwire.apiserver.http.answer import encode, many, one, reply
from podwire.apiserver.http.ask import Target, shape_of
from podwire.apiserver.http.read import choose
from podwire.apiserver.metrics import NODE_METRICS, POD_METRICS, MetricsSource, measured
from podwire.apiserver.status import method_not_allowed, not_found
from podwire.apiserver.store import Store
from podwire.kube.registry import Kind

Json = dict[str, Any]


def is_measured(kind: Kind) -> bool:
    """Whether the kind is one of the two."""
    return kind in (NODE_METRICS, POD_METRICS)


def serve(store: Store, request: BaseRequest, target: Target, source: MetricsSource) -> Response:
    """Answer. Raises :class:`StatusError` 400, 404, 405."""
    if request.method not in ("GET", "HEAD") or target.subresource or "watch" in request.query:
        raise method_not_allowed()
    shape, include = shape_of(request.headers.get("Accept", "")), request.query.get("includeObject", "")
    of = "Node" if target.kind == NODE_METRICS else "Pod"
    if target.name:
        item = store.get(of, target.key)
        found = next(measured(target.kind, source, [item.value] if item else []), None)
        if found is None:
            raise not_found(target.kind, target.name)
        return reply(one(target, found, shape, include=include))
    chosen = choose(msgspec.structs.replace(target, name=""), request.query)
    values = measured(target.kind, source, (item.value for _, item in store.items(of)))
    items = [Item(value, encode(value), 0) for value in values if chosen is None or chosen(value)]
    return reply(many(target, items, {}, shape, include=include))
