"""A container runtime as far as CNI sees one: namespaces of its own, and plugins called as SPEC section 3 says."""

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]
PLUGINS = "/usr/lib/cni"


class CniError(Exception):
    """A plugin's error object."""

    def __init__(self, said: Json) -> None:
        super().__init__(said)
        self.code, self.message = int(said["code"]), str(said["msg"])


class Network:
    """A network configuration list, and the results its containers got."""

    def __init__(self, plugins: Sequence[Json], *, name: str = "podwire", version: str = "1.1.0") -> None:
        self.name, self.version, self.plugins = name, version, list(plugins)
        self.results: dict[tuple[str, str], Json] = {}

    def call(self, command: str, plugin: Json, environment: Json, more: Json) -> Json:
        """One plugin, once."""
        capabilities = plugin.get("capabilities", {})
        runtime = {k: v for k, v in environment.pop("runtime", {}).items() if capabilities.get(k)}
        value = {**plugin, "cniVersion": self.version, "name": self.name, **more}
        value.pop("capabilities", None)
        value |= {"runtimeConfig": runtime} if runtime else {}
        own = plugin["type"] == "podwire-cni"
        argv = [sys.executable, "-m", "podwire.cli.cni"] if own else [f"{PLUGINS}/{plugin['type']}"]
        # What containerd gives a plugin: neither the administrator's home nor podwire's variables.
        env = {"PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_PATH": PLUGINS}
        env |= {f"CNI_{k}": v for k, v in environment.items()}
        done = subprocess.run(argv, input=json.dumps(value), capture_output=True, text=True, env=env, timeout=60)
        if done.returncode:
            raise CniError(json.loads(done.stdout))
        return json.loads(done.stdout) if done.stdout else {}

    def add(self, container: str, netns: str, *, interface: str = "eth0", args: str = "", **runtime: Any) -> Json:
        """ADD through the chain; the final result, which is kept for CHECK and DEL."""
        result: Json | None = None
        for plugin in self.plugins:
            environment = self._environment(container, netns, interface=interface, args=args, runtime=runtime)
            result = self.call("ADD", plugin, environment, {"prevResult": result} if result else {})
        assert result is not None
        self.results[container, interface] = result
        return result

    def delete(self, container: str, netns: str = "", *, interface: str = "eth0", args: str = "") -> None:
        """DEL in reverse; may be called any number of times."""
        previous = self.results.get((container, interface))
        for plugin in reversed(self.plugins):
            environment = self._environment(container, netns, interface=interface, args=args)
            self.call("DEL", plugin, environment, {"prevResult": previous} if previous else {})

    def check(self, container: str, netns: str, *, interface: str = "eth0") -> None:
        previous = self.results[container, interface]
        for plugin in self.plugins:
            environment = self._environment(container, netns, interface=interface)
            self.call("CHECK", plugin, environment, {"prevResult": previous})

    def collect(self, *valid: tuple[str, str]) -> None:
        attachments = [{"containerID": container, "ifname": interface} for container, interface in valid]
        for plugin in self.plugins:
            self.call("GC", plugin, {}, {"cni.dev/valid-attachments": attachments})

    def status(self) -> None:
        for plugin in self.plugins:
            self.call("STATUS", plugin, {}, {})

    @staticmethod
    def _environment(
        container: str, netns: str, *, interface: str, args: str = "", runtime: Json | None = None
    ) -> Json:
        variables = {"CONTAINERID": container, "IFNAME": interface, "ARGS": args, "runtime": runtime or {}}
        return variables | ({"NETNS": netns} if netns else {})


@contextlib.contextmanager
def container() -> Iterator[tuple[str, str]]:
    """An id, and the path of a network namespace nobody else knows; gone on exit."""
    name = f"cni-test-{uuid.uuid4().hex[:12]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name, f"/run/netns/{name}"
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def addresses_in(netns: str, interface: str = "eth0") -> list[str]:
    """IPv4 addresses of an interface in a namespace."""
    show = ["nsenter", f"--net={netns}", "ip", "-j", "-4", "address", "show"]
    found = json.loads(subprocess.run(show, capture_output=True, text=True, check=True).stdout)
    return [a["local"] for link in found if link.get("ifname") == interface for a in link["addr_info"]]


ECHO = """
import socket, sys, threading
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind((sys.argv[1], int(sys.argv[2])))
print("up", flush=True)
def send_back():
    while True:
        datagrams.sendto(*datagrams.recvfrom(65536))
threading.Thread(target=send_back, daemon=True).start()
def serve(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""


@contextlib.contextmanager
def echo_server(netns: str, address: str, port: int) -> Iterator[None]:
    """A process of its own in a namespace that sends back what it gets, by TCP and UDP: somebody else's container."""
    argv = ["nsenter", f"--net={netns}", sys.executable, "-c", ECHO, address, str(port)]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        yield
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def plugin_of(home: Path, cluster: str, node: str, **more: Any) -> Json:
    """The configuration of podwire's plugin."""
    return {"type": "podwire-cni", "home": str(home), "cluster": cluster, "node": node, **more}
