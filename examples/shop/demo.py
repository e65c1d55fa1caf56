"""Bring up the shop and walk a visitor through it: every line shown is a real command with its real output.

On a terminal the cluster stays up until Ctrl-C. Without one the walk ends by itself, and its exit status says whether
every step did what it should.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
PODWIRE = [sys.executable, "-m", "podwire"]
NAME = "demo"
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
PATHS = {"/": "web", "/catalog/shoes": "catalog", "/cart": "cart", "/checkout": "checkout"}


class Walk:
    """Shows steps, runs commands, remembers what went wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def step(self, title: str) -> None:
        """A heading."""
        print(f"\n{BOLD}{title}{PLAIN}", flush=True)

    def run(self, *command: str, shown: str = "", keep: tuple[str, ...] = (), code: int | None = 0) -> str:
        """Run a command, show it and its output (only lines that contain one of ``keep``), and return the output."""
        print(f"{DIM}$ {shown or ' '.join(command)}{PLAIN}", flush=True)
        argv = [*PODWIRE, *command[1:]] if command[0] == "podwire" else list(command)
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        for line in lines if not keep else [text for text in lines if any(word in text for word in keep)]:
            print(f"  {line}")
        if code is not None and done.returncode != code:
            self.problems.append(f"{' '.join(command)}: exit {done.returncode}, expected {code}")
        return done.stdout

    def check(self, holds: bool, what: str) -> None:
        """Remember ``what`` when it does not hold."""
        if not holds:
            self.problems.append(what)
            print(f"  {BOLD}unexpected:{PLAIN} {what}")


def ingress_address(lines: list[str]) -> str:
    """The Ingress controller's address, from what ``podwire up`` printed."""
    line = next(text for text in lines if text.endswith("ingress-nginx/ingress-nginx-controller"))
    return line.split()[2].rpartition(":")[0]


def inside(*command: str) -> tuple[str, ...]:
    """A command in the debug pod."""
    return ("podwire", "exec", "--name", NAME, "shop/debug", "--", *command)


def names_resolve(walk: Walk) -> None:
    """DNS from inside a pod."""
    walk.step("1. Names resolve, as in any cluster")
    for name in ("web", "ledger.payments", "inventory-0.inventory.shop.svc.cluster.local", "billing"):
        found = walk.run(*inside("nslookup", name), keep=("Name:", "Address: ", "canonical"))
        walk.check("Address: 10." in found, f"{name} does not resolve")
    found = walk.run(*inside("nslookup", "-type=SRV", "_sql._tcp.inventory"), keep=("service =",))
    walk.check(found.count("service =") == 2, "SRV of the StatefulSet")


def requests_are_balanced(walk: Walk) -> None:
    """A ClusterIP reaches all ready endpoints; session affinity pins one."""
    walk.step("2. Requests are balanced in the kernel (nftables), or kept by session affinity")
    script = "for i in $(seq 24); do curl -s http://{0}/; echo; done"
    for service, expected in (("catalog", 2), ("cart", 1)):
        command = inside("sh", "-c", script.format(service))
        print(f"{DIM}$ podwire exec shop/debug -- curl http://{service}/   (24 times){PLAIN}")
        done = subprocess.run([*PODWIRE, *command[1:]], capture_output=True, text=True)
        pods = Counter(json.loads(line)["pod"] for line in done.stdout.splitlines() if line.startswith("{"))
        for pod, count in sorted(pods.items()):
            print(f"  {count:3} x {pod}")
        walk.check(len(pods) == expected, f"{service}: {len(pods)} pods answered, expected {expected}")


def ingress_answers(walk: Walk, address: str) -> None:
    """TLS, and four paths to four Services."""
    walk.step("3. The Ingress answers over TLS: one host, four paths, four Services")
    for path, app in PATHS.items():
        url = f"https://shop.example.com{path}"
        command = ["curl", "-s", "--resolve", f"shop.example.com:443:{address}", "--cacert", certificate(), url]
        print(f"{DIM}$ curl --resolve shop.example.com:443:{address} {url}{PLAIN}")
        done = subprocess.run(command, capture_output=True, text=True)
        pod = json.loads(done.stdout)["pod"] if done.stdout.startswith("{") else done.stdout or done.stderr
        print(f"  {pod}")
        walk.check(pod.startswith(app), f"{path} reached {pod}")


def certificate() -> str:
    """The shop's public certificate as a file, from its Secret."""
    import base64

    line = next(text for text in (HERE / "05-tls.yaml").read_text().splitlines() if "tls.crt:" in text)
    path = Path(tempfile.gettempdir()) / f"podwire-demo-{os.getpid()}.crt"
    path.write_bytes(base64.b64decode(line.split()[1]))
    return str(path)


def forbidden_is_blocked(walk: Walk) -> None:
    """A policy drops a packet, and trace says which."""
    walk.step("4. A forbidden connection is dropped, and podwire says by what")
    found = walk.run(*inside("curl", "-sS", "-m", "2", "http://ledger.payments"), code=None)
    walk.check("timed out" in found, "debug must not reach the ledger")
    found = walk.run("podwire", "trace", "--name", NAME, "shop/debug", "http://ledger.payments/", code=1)
    walk.check("payments/default-deny" in found, "trace names the policy")
    walk.step("5. The same question for a request that arrives")
    walk.run("podwire", "trace", "--name", NAME, "host", "https://shop.example.com/cart")


def main() -> int:
    """The exit status of the whole walk."""
    walk = Walk()
    walk.step("podwire up -f examples/shop")
    up = subprocess.Popen(
        [*PODWIRE, "up", "--name", NAME, "-f", str(HERE)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert up.stdout is not None
        lines: list[str] = []
        while not lines or "kubeconfig" not in lines[-1]:
            line = up.stdout.readline()
            if not line:
                return up.wait() or 1
            lines.append(line.rstrip())
            print(f"  {lines[-1]}", flush=True)
        walk.check("networking ready" in lines[0], "networking is not ready")
        names_resolve(walk)
        requests_are_balanced(walk)
        ingress_answers(walk, ingress_address(lines))
        forbidden_is_blocked(walk)
        return finish(walk, up, kubeconfig=lines[-1].split()[-1])
    except KeyboardInterrupt:
        return 130
    finally:
        up.terminate()
        up.wait()
        subprocess.run([*PODWIRE, "down", "--name", NAME], check=False)
        Path(certificate()).unlink(missing_ok=True)


def finish(walk: Walk, up: "subprocess.Popen[str]", *, kubeconfig: str) -> int:
    """Say how it went; on a terminal, stay."""
    for problem in walk.problems:
        print(f"problem: {problem}", file=sys.stderr)
    if not walk.problems:
        print("\nEvery step did what it should.", flush=True)
    if sys.stdin.isatty() and sys.stdout.isatty():
        print(f"\nIt stays up until Ctrl-C. In another terminal: export KUBECONFIG={kubeconfig}")
        try:
            up.wait()
        except KeyboardInterrupt:
            print()
    return 1 if walk.problems else 0


if __name__ == "__main__":
    sys.exit(main())
