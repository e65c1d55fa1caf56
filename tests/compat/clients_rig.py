"""What every Python client meets: one podwire with a pod to run commands in and one that serves."""

from collections.abc import Iterator
from contextlib import contextmanager

from podwire.testing.process import RunningPodwire, running_podwire

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox, command: [sh, -c, 'echo hello from box; sleep 100000']}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: main, image: example.com/web, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""


@contextmanager
def podwire_with_pods() -> Iterator[RunningPodwire]:
    """Up, and both pods ready."""
    with running_podwire() as running:
        running.kubectl("apply", "-f", "-", text_input=PODS)
        running.kubectl("wait", "--for=condition=Ready", "pod/box", "pod/web", "--timeout=60s")
        yield running


def kubeconfig_of(running: RunningPodwire) -> str:
    """The path clients load."""
    return running.environment["KUBECONFIG"]
