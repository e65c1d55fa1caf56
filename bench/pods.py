"""``pods``: 1,000 stand-in pods on 3 nodes, from cold start until all are Ready."""

import tempfile
from pathlib import Path

from bench.cluster import report, running

MEGABYTE = 1024 * 1024
PODS, DEPLOYMENTS, NODES = 1000, 10, 3
TEMPLATE = """apiVersion: apps/v1
kind: Deployment
metadata: {{name: many-{index}, namespace: default}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: many-{index}}}}}
  template:
    metadata: {{labels: {{app: many-{index}}}}}
    spec:
      containers:
        - name: main
          image: example.com/standin
          ports: [{{name: http, containerPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: many-{index}, namespace: default}}
spec:
  selector: {{app: many-{index}}}
  ports: [{{port: 80, targetPort: http}}]
---
"""


def run() -> None:
    """Seconds until all are Ready; the memory is printed beside it."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "many.yaml"
        manifest.write_text(
            "".join(TEMPLATE.format(index=index, replicas=PODS // DEPLOYMENTS) for index in range(DEPLOYMENTS))
        )
        with running("-f", str(manifest), "--nodes", str(NODES), "--node-cidr-mask-size", "23") as measured:
            total = sum(measured.memory_bytes().values()) / MEGABYTE
            print(f"pods memory: {total:.1f} MB", flush=True)
            report("pods", measured.seconds, "s")
