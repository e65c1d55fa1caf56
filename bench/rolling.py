"""``rolling``: rolling updates of a Deployment with 50 replicas under load, and how many requests they lose (none).

``ROLLING_UPDATES`` says how many updates (100); each is a whole rollout, so the run takes as long as they do.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cluster import report
from podwire.testing.load import under_load
from podwire.testing.process import running_podwire

REPLICAS = 50
UPDATES = int(os.environ.get("ROLLING_UPDATES", "100"))


def run() -> None:
    """Requests lost by clients that honour keep-alive; the figure is their number, and must be 0."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "web.json"
        manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [_deployment(), _service()]}))
        with running_podwire([manifest], "--nodes", "2", "--timeout", "120") as podwire:
            address = podwire.get("svc", "web")["status"]["loadBalancer"]["ingress"][0]["ip"]
            started = time.monotonic()
            with under_load(address, 80) as load:
                for number in range(1, UPDATES + 1):
                    podwire.kubectl("set", "image", "deploy/web", f"main=example.com/web:{number}")
                    podwire.kubectl("rollout", "status", "deploy/web", "--timeout=110s")
            seconds = time.monotonic() - started
    each = seconds / UPDATES
    text = f"{UPDATES} updates of {REPLICAS} replicas, {each:.1f} s each; {load.answered} requests answered"
    print(f"rolling: {text}, {load.retried} sent again, {len(load.lost)} lost {load.lost[:3]}", flush=True)
    report("rolling", len(load.lost), "requests lost")


def _deployment() -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "example.com/web:0",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    }
    spec = {"terminationGracePeriodSeconds": 10, "containers": [container]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    selector = {"matchLabels": {"app": "web"}}
    meta = {"name": "web", "namespace": "default"}
    body = {"replicas": REPLICAS, "selector": selector, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": body}


def _service() -> dict[str, Any]:
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}
