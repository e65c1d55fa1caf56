"""Rolling updates under load lose no request, with readiness, a pause before the stop, and a grace period."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from podwire.testing.load import Load, under_load
from podwire.testing.process import eventually, running_podwire

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl"),
]

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 10
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: main
          image: example.com/web:0
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
          lifecycle: {preStop: {sleep: {seconds: 1}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
UPDATES = 3


def test_no_request_is_lost(tmp_path: Path) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(MANIFEST)
    with running_podwire([manifest], "--nodes", "2") as podwire:
        address = podwire.get("svc", "web")["status"]["loadBalancer"]["ingress"][0]["ip"]
        with under_load(address, 80, read=lambda body: str(json.loads(body)["pod"])) as load:
            for number in range(1, UPDATES + 1):
                wanted = load.answered + 100
                podwire.kubectl("set", "image", "deploy/web", f"main=example.com/web:{number}")
                podwire.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
                eventually(partial(_has_answered, load, wanted))
        assert load.lost == []
        revisions = {name.split("-")[1] for name in load.seen}
        assert len(revisions) == UPDATES + 1, load.seen


def _has_answered(load: Load, number: int) -> bool:
    return load.answered > number
