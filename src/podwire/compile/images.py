"""What runs for a container's image: a mapping of the user's, a known tool image, podwire's own planes, a stand-in.

Rules:

1. The first match decides, in the order above; the reason says which in a sentence fit for an event.
2. A mapped command takes the place of the image's entrypoint: the container's ``args`` follow it, its ``command`` does
   not run. With a root file system of its own a container's ``command`` and ``args`` replace the image's as in
   Kubernetes; without any command it does not start.
3. A tool image runs the container's command with this machine's tools; without one it sleeps.
4. A stand-in listens on every declared port, probe port and port that a Service sends to the pod.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from podwire.kube.pods import Container
from podwire.plan.node import ProcessWork, StandInPort, StandInWork, Work
from podwire.snapshot import ImageRule, ImageRun

SLEEP = ("sleep", "infinity")
TOOLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "busybox": (),
        "alpine": (),
        "debian": (),
        "ubuntu": (),
        "fedora": (),
        "bash": ("bash",),
        "curlimages/curl": ("curl",),
        "alpine/curl": ("curl",),
        "nicolaka/netshoot": (),
        "wbitt/network-multitool": (),
        "praqma/network-multitool": (),
        "e2e-test-images/jessie-dnsutils": (),
        "e2e-test-images/busybox": (),
        "e2e-test-images/pause": (),
        "pause": (),
    }
)
"""Images without a server of their own, and the entrypoint that takes arguments beginning with a dash."""

OWN_PLANES: Mapping[str, str] = MappingProxyType({"podwire/dns": "dns", "podwire/envoy": "envoy"})
"""Containers whose listening is done by a plane of podwire inside the pod's namespace."""

AGNHOST = "e2e-test-images/agnhost"
_AGNHOST_PORT = re.compile(r"--(?:http-port|port|udp-port)=(\d+)\Z")


def repository_of(image: str) -> str:
    """``nicolaka/netshoot`` for ``docker.io/nicolaka/netshoot:v1``: no registry, tag, digest or ``library/``."""
    path = image.partition("@")[0]
    head, slash, tail = path.rpartition("/")
    path = f"{head}{slash}{tail.partition(':')[0]}"
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        path = rest
    return path.removeprefix("library/")


def matches_glob(glob: str, image: str) -> bool:
    """``*`` any text, ``?`` one character; against the whole image, with or without its tag."""
    pattern = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in glob), re.DOTALL)
    untagged = image.partition("@")[0]
    head, slash, tail = untagged.rpartition("/")
    untagged = f"{head}{slash}{tail.partition(':')[0]}"
    return any(pattern.fullmatch(text) for text in (image, untagged))


def decide_work(
    container: Container,
    *,
    command: tuple[str, ...],
    args: tuple[str, ...],
    rules: Iterable[ImageRule],
    extra_ports: Iterable[StandInPort],
) -> Work:
    """The work of one container; ``command`` and ``args`` are after ``$(VAR)`` expansion."""
    for rule in rules:
        if matches_glob(rule.glob, container.image):
            if rule.run is not None:
                return _own_root(container, rule, rule.run, command, args)
            reason = f"image {container.image} is {rule.reason}: runs {' '.join(rule.argv)}"
            return ProcessWork((*rule.argv, *args), reason, container.working_dir, rule.binds)
    name = repository_of(container.image)
    if name in OWN_PLANES:
        return StandInWork((), f"image {container.image} is podwire's own {OWN_PLANES[name]} plane")
    if name in TOOLS:
        return _tool(container, command, args, TOOLS[name])
    if name == AGNHOST and (command[1:] or args)[:1] in ((), ("pause",)):
        return ProcessWork(SLEEP, f"image {container.image} is known: agnhost pause sleeps")
    ports = {(p.port, p.protocol): p for p in (*extra_ports, *_declared(container))}
    reason = f"image {container.image} is not run: a stand-in answers on its ports"
    return StandInWork(tuple(sorted(ports.values())), reason)


def find_run(image: str, rules: Iterable[ImageRule]) -> ImageRun | None:
    """How the user's image is run, when it has a root file system of its own."""
    return next((rule.run for rule in rules if matches_glob(rule.glob, image)), None)


def _own_root(
    container: Container, rule: ImageRule, run: ImageRun, command: tuple[str, ...], args: tuple[str, ...]
) -> ProcessWork:
    argv = (*(command or run.entrypoint), *(args or (() if command else run.command)))
    reason = f"image {container.image} is {rule.reason}"
    return ProcessWork(argv, reason, container.working_dir or run.working_dir, rule.binds, run.root)


def _tool(
    container: Container, command: tuple[str, ...], args: tuple[str, ...], entrypoint: tuple[str, ...]
) -> ProcessWork:
    argv = (*command, *args)
    if not command and args and args[0].startswith("-"):
        argv = (*entrypoint, *args)
    if not argv:
        return ProcessWork(SLEEP, f"image {container.image} is a known tool image without a command: it sleeps")
    reason = f"image {container.image} is a known tool image: the command runs with this machine's tools"
    return ProcessWork(argv, reason, container.working_dir)


def _declared(container: Container) -> Iterable[StandInPort]:
    for port in container.ports:
        yield StandInPort(port.container_port, port.protocol or "TCP", port.name)
    if repository_of(container.image) == AGNHOST:
        for word in (*container.command, *container.args):
            found = _AGNHOST_PORT.match(word)
            if found:
                yield StandInPort(int(found.group(1)), "UDP" if "udp" in word else "TCP")
