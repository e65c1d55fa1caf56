"""Who may do what, asked by stock kubectl: tokens, whoami, can-i, impersonation, roles, drain's eviction."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from podwire.apiserver import ApiServer, ApiSettings

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
]


class Rig:
    """A server in a thread, and kubectl with the admin's certificate or as somebody with a token."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "kubeconfig"
        self.server = ApiServer(ApiSettings(directory=directory / "api"))
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self.server.start())
        self.server.kubeconfig.write(self.config)

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def stop(self) -> None:
        self.call(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def kubectl(self, *words: str, stdin: str | None = None, code: int = 0) -> str:
        return self._run([f"--kubeconfig={self.config}", *words], stdin, code)

    def as_token(self, token: str, *words: str, code: int = 0) -> str:
        server = f"--server=https://127.0.0.1:{self.server.port}"
        authority = f"--certificate-authority={self.directory / 'api' / 'pki' / 'ca.crt'}"
        return self._run(["--kubeconfig=/dev/null", server, authority, f"--token={token}", *words], None, code)

    def _run(self, words: list[str], stdin: str | None, code: int) -> str:
        done = subprocess.run(
            ["kubectl", f"--cache-dir={self.directory / 'cache'}", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "HOME": str(self.directory)},
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("auth"))
    yield rig
    rig.stop()


@pytest.fixture
def space(api: Rig) -> str:
    name = f"a-{uuid4().hex[:8]}"
    api.kubectl("create", "namespace", name)
    return name


def test_admin_is_of_the_masters(api: Rig) -> None:
    assert "kubernetes-admin" in api.kubectl("auth", "whoami")
    user = json.loads(api.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert user["groups"] == ["system:masters", "system:authenticated"]
    assert api.kubectl("auth", "can-i", "*", "*", "--all-namespaces").strip() == "yes"
    assert api.kubectl("auth", "can-i", "delete", "pods").strip() == "yes"
    assert "*.*" in api.kubectl("auth", "can-i", "--list")


def test_a_token_is_a_service_account_with_its_rights_only(api: Rig, space: str) -> None:
    api.kubectl("create", "serviceaccount", "bot", "-n", space)
    token = api.kubectl("create", "token", "bot", "-n", space, "--duration=1h").strip()
    assert token.count(".") == 2
    who = json.loads(api.as_token(token, "auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert who["username"] == f"system:serviceaccount:{space}:bot"
    assert f"system:serviceaccounts:{space}" in who["groups"] and who["uid"]
    refused = api.as_token(token, "get", "pods", "-n", space, code=1)
    assert (
        f'pods is forbidden: User "system:serviceaccount:{space}:bot" cannot list resource "pods"'
        f' in API group "" in the namespace "{space}"'
    ) in refused
    assert api.as_token(token, "auth", "can-i", "list", "pods", "-n", space, code=1).strip() == "no"

    api.kubectl("create", "role", "reader", "--verb=get,list,watch", "--resource=pods,pods/log", "-n", space)
    api.kubectl("create", "rolebinding", "bot", "--role=reader", f"--serviceaccount={space}:bot", "-n", space)
    assert "No resources found" in api.as_token(token, "get", "pods", "-n", space)
    assert api.as_token(token, "auth", "can-i", "list", "pods", "-n", space).strip() == "yes"
    assert api.as_token(token, "auth", "can-i", "list", "pods", "-n", "default", code=1).strip() == "no"
    assert api.as_token(token, "auth", "can-i", "get", "pods", "--subresource=log", "-n", space).strip() == "yes"
    rules = api.as_token(token, "auth", "can-i", "--list", "-n", space)
    assert "pods/log" in rules and "selfsubjectaccessreviews.authorization.k8s.io" in rules

    api.kubectl("delete", "serviceaccount", "bot", "-n", space)
    assert "Unauthorized" in api.as_token(token, "get", "pods", "-n", space, code=1)


def test_short_tokens_and_foreign_objects_are_refused(api: Rig, space: str) -> None:
    api.kubectl("create", "serviceaccount", "bot", "-n", space)
    short = api.kubectl("create", "token", "bot", "-n", space, "--duration=60s", code=1)
    assert "may not specify a duration less than 10 minutes" in short
    assert "not found" in api.kubectl("create", "token", "nobody", "-n", space, code=1)
    bound = ("--bound-object-kind=Secret", "--bound-object-name=s")
    assert "not found" in api.kubectl("create", "token", "bot", "-n", space, *bound, code=1)
    api.kubectl("create", "secret", "generic", "s", "-n", space)
    token = api.kubectl("create", "token", "bot", "-n", space, *bound).strip()
    api.as_token(token, "auth", "whoami")
    api.kubectl("delete", "secret", "s", "-n", space)
    assert "Unauthorized" in api.as_token(token, "auth", "whoami", code=1)


def test_impersonation(api: Rig, space: str) -> None:
    refused = api.kubectl("get", "nodes", "--as=jane", "--as-group=team", code=1)
    assert 'User "jane" cannot list resource "nodes" in API group "" at the cluster scope' in refused
    api.kubectl("create", "clusterrolebinding", f"team-{space}", "--clusterrole=view", f"--group=team-{space}")
    assert "No resources" in api.kubectl("get", "pods", "-n", space, "--as=jane", f"--as-group=team-{space}")
    api.kubectl("create", "configmap", "c", "-n", space, "--as=jane", f"--as-group=team-{space}", code=1)
    api.kubectl("get", "secrets", "-n", space, "--as=jane", f"--as-group=team-{space}", code=1)
    api.kubectl("create", "serviceaccount", "bot", "-n", space)
    token = api.kubectl("create", "token", "bot", "-n", space).strip()
    assert 'cannot impersonate resource "users"' in api.as_token(token, "get", "pods", "--as=jane", code=1)


def test_the_usual_roles_and_their_aggregation(api: Rig, space: str) -> None:
    for role, verb, thing, answer in (
        ("view", "list", "deployments.apps", "yes"),
        ("view", "list", "secrets", "no"),
        ("edit", "create", "pods", "yes"),
        ("edit", "create", "roles.rbac.authorization.k8s.io", "no"),
        ("admin", "create", "rolebindings.rbac.authorization.k8s.io", "yes"),
        ("admin", "list", "nodes", "no"),
        ("cluster-admin", "delete", "nodes", "yes"),
    ):
        user = f"{role}-{space}"
        if not api.kubectl("get", "rolebinding", user, "-n", space, "--ignore-not-found"):
            api.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "-n", space)
        code = 0 if answer == "yes" else 1
        if thing == "nodes":
            continue  # a RoleBinding gives nothing at the cluster scope; asked in the namespace it would
        said = api.kubectl("auth", "can-i", verb, thing, "-n", space, f"--as={user}", code=code)
        assert said.splitlines()[-1] == answer, (role, verb, thing)
    label = "rbac.authorization.k8s.io/aggregate-to-view=true"
    name = f"widgets-{space}"
    api.kubectl("create", "clusterrole", name, "--verb=get", "--resource=leases.coordination.k8s.io")
    api.kubectl("label", "clusterrole", name, label)
    assert api.kubectl("auth", "can-i", "get", "leases", "-n", space, f"--as=view-{space}").strip() == "yes"
    api.kubectl("delete", "clusterrole", name)
    assert api.kubectl("auth", "can-i", "get", "leases", "-n", space, f"--as=view-{space}", code=1).strip() == "no"


def test_nobody_gives_away_more_than_they_have(api: Rig, space: str) -> None:
    user = f"boss-{space}"
    api.kubectl("create", "rolebinding", user, "--clusterrole=admin", f"--user={user}", "-n", space)
    create = ("-n", space, f"--as={user}")
    api.kubectl("create", "role", "ok", "--verb=get", "--resource=pods", *create)
    more = api.kubectl("create", "role", "more", "--verb=*", "--resource=pods", *create, code=1)
    assert "is attempting to grant RBAC permissions not currently held" in more
    assert 'Verbs:["*"]' in more
    api.kubectl("create", "rolebinding", "b", "--clusterrole=view", "--user=x", *create)
    api.kubectl("create", "rolebinding", "c", "--clusterrole=cluster-admin", "--user=x", *create, code=1)


def test_roles_are_checked_and_shown(api: Rig, space: str) -> None:
    api.kubectl("create", "rolebinding", "b", "--clusterrole=view", "--user=jane", "--group=team", "-n", space)
    wide = api.kubectl("get", "rolebinding", "-n", space, "-o", "wide")
    assert wide.split()[:6] == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert "ClusterRole/view" in wide and "jane" in wide
    patch = '{"roleRef":{"name":"edit"}}'
    changed = api.kubectl("patch", "rolebinding", "b", "-n", space, "-p", patch, "--type=merge", code=1)
    assert "cannot change roleRef" in changed
    assert "CREATED AT" in api.kubectl("get", "clusterroles")
    assert "rules" in api.kubectl("explain", "role")
    assert "PolicyRule" in api.kubectl("describe", "clusterrole", "view")
    manifest = json.dumps(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": "x", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": space}},
        }
    )
    answer = json.loads(api.kubectl("create", "-f", "-", "-o", "json", stdin=manifest))
    assert answer["status"] == {"allowed": False}


def test_tokens_can_be_checked_by_others(api: Rig, space: str) -> None:
    found = json.loads(api.kubectl("get", "--raw", "/.well-known/openid-configuration"))
    assert found["issuer"] == "https://kubernetes.default.svc.cluster.local"
    (key,) = json.loads(api.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    assert key["alg"] == "ES256" and key["crv"] == "P-256"
    api.kubectl("create", "serviceaccount", "bot", "-n", space)
    token = api.kubectl("create", "token", "bot", "-n", space, "--audience=vault").strip()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    wrong = json.loads(api.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))
    assert "authenticated" not in wrong["status"] and "audiences" in wrong["status"]["error"]
    review["spec"] = {"token": token, "audiences": ["vault"]}
    right = json.loads(api.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))
    assert right["status"]["authenticated"] and right["status"]["user"]["username"].endswith(":bot")
    assert "Unauthorized" in api.as_token(token, "get", "pods", code=1)


def running_pod(api: Rig, space: str, name: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": {"app": "web"}},
        "spec": {"nodeName": f"n-{space}", "containers": [{"name": "a", "image": "example.com/a:1"}]},
    }
    api.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    ready = '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}'
    api.kubectl("patch", "pod", name, "-n", space, "--subresource=status", "--type=merge", "-p", ready)


def test_drain_asks_the_budget(api: Rig, space: str) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n-{space}"}}
    api.kubectl("create", "-f", "-", stdin=json.dumps(node))
    running_pod(api, space, "a")
    api.kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=1", "-n", space)
    full = '{"status":{"observedGeneration":1,"disruptionsAllowed":0,"currentHealthy":1,"desiredHealthy":1}}'
    api.kubectl("patch", "pdb", "web", "-n", space, "--subresource=status", "--type=merge", "-p", full)
    drain = ("drain", f"n-{space}", "--force", "--grace-period=0", "--pod-selector=app=web", "--timeout=1s")
    refused = api.kubectl(*drain, code=1)
    assert "Cannot evict pod as it would violate the pod's disruption budget" in refused
    assert "SchedulingDisabled" in api.kubectl("get", "node", f"n-{space}")
    allowed = '{"status":{"observedGeneration":1,"disruptionsAllowed":1,"currentHealthy":1}}'
    api.kubectl("patch", "pdb", "web", "-n", space, "--subresource=status", "--type=merge", "-p", allowed)
    assert "pod/a evicted" in api.kubectl(*drain[:-1], "--timeout=20s")
    assert "uncordoned" in api.kubectl("uncordon", f"n-{space}")


def test_quota_and_limits_by_kubectl(api: Rig, space: str) -> None:
    api.kubectl("create", "quota", "q", "--hard=configmaps=2,services.loadbalancers=0", "-n", space)
    api.kubectl("create", "configmap", "one", "-n", space)
    full = api.kubectl("create", "configmap", "two", "-n", space, code=1)
    assert "exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2" in full
    assert "configmaps" in api.kubectl("describe", "quota", "q", "-n", space)
    table = api.kubectl("get", "quota", "-n", space)
    assert table.split()[:4] == ["NAME", "REQUEST", "LIMIT", "AGE"] and "configmaps: 2/2" in table
    balanced = api.kubectl("create", "service", "loadbalancer", "lb", "--tcp=80", "-n", space, code=1)
    assert "services.loadbalancers=1" in balanced


def test_hostile_credentials_get_statuses(api: Rig) -> None:
    """Raw bytes on the wire: never a 500."""
    import socket
    import ssl

    def ask(*headers: bytes, certificate: bool = False) -> bytes:
        context = ssl.create_default_context(cafile=api.directory / "api" / "pki" / "ca.crt")
        if certificate:
            pki = api.directory / "api" / "pki"
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        with (
            socket.create_connection(("127.0.0.1", api.server.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            lines = [b"GET /api/v1/pods HTTP/1.1", b"Host: localhost", b"Connection: close", *headers, b"", b""]
            secure.sendall(b"\r\n".join(lines))
            return secure.recv(65536).split(b" ")[1]

    assert ask() == b"401"
    assert ask(b"Authorization: Bearer \xff\xfe") == b"401"
    assert ask(b"Authorization: Bearer a.b.c", certificate=True) == b"401"
    assert ask(b"Authorization: Basic YTpi") == b"401"
    assert ask(b"Impersonate-User: \xff", certificate=True) == b"400"
    assert ask(b"Impersonate-Group: g", certificate=True) == b"400"
    assert ask(b"Impersonate-User: x", certificate=True) == b"403"
    assert ask(certificate=True) == b"200"


def test_metrics(api: Rig) -> None:
    text = api.kubectl("get", "--raw", "/metrics")
    assert 'apiserver_storage_objects{resource="Namespace"}' in text
    assert "apiserver_request_total{" in text and "process_resident_memory_bytes" in text
    assert "cannot get path" in api.kubectl("get", "--raw", "/metrics", "--as=jane", code=1)
