"""What the agent believes after a repair, without a kernel."""

import pytest

from podwire.planes.nft import agent as module
from podwire.planes.nft.agent import NodeAgent
from podwire.planes.nft.tables import IP, NodeTables, Unit

RULES = {"services": "services\n", "policy": "policy\n"}
TABLES = NodeTables("node", RULES, {"web": Unit({IP.cluster_ips: {"10.96.0.1": ""}})}, {})  # type: ignore[arg-type]


class Kernel:
    """Takes text until told to fail; also the guard of a namespace that somebody else disturbed."""

    by = "nft (pid 7)"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.fails = False
        self.disturbed = False

    def run(self, text: str) -> str:
        self.sent.append(text)
        if self.fails:
            raise OSError("the namespace is gone")
        return ""

    def listen(self, *, own: int) -> None:
        """Nothing more than what the test sets."""

    def note_rules(self, *_: object) -> None:
        """All rules are alike here."""

    def is_whole(self, _family: object, table: str, _expected: object) -> bool:
        return table != "podwire-svc"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(module, "identify_netns", lambda _: (1, 1))
    monkeypatch.setattr(module, "run_in_netns", lambda *_: made)
    monkeypatch.setattr("podwire.planes.nft.sysctls.run_in_netns", lambda *_: "")
    return made


def loaded(kernel: Kernel) -> NodeAgent:
    agent = NodeAgent("x", lambda _: kernel)  # type: ignore[arg-type,return-value]
    agent.sync(TABLES)
    kernel.sent.clear()
    return agent


def test_only_the_table_that_was_changed_is_loaded_anew(kernel: Kernel) -> None:
    agent = loaded(kernel)
    kernel.disturbed = True
    found = agent.repair(TABLES)
    assert found is not None and found[1] == "podwire-svc changed by nft (pid 7)"
    (text,) = kernel.sent
    assert "services\n" in text and "policy\n" not in text and "10.96.0.1" in text
    assert agent.repair(TABLES) is None


def test_after_a_repair_that_failed_everything_is_loaded_with_the_next_change(kernel: Kernel) -> None:
    agent = loaded(kernel)
    kernel.disturbed = kernel.fails = True
    with pytest.raises(OSError, match="gone"):
        agent.repair(TABLES)
    kernel.fails = False
    kernel.sent.clear()
    agent.sync(TABLES)
    assert "services\n" in kernel.sent[0] and "policy\n" in kernel.sent[0] and "10.96.0.1" in kernel.sent[0]
