"""Equal input gives byte-equal plans, whatever the hash seed and the order of arrival."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = """
import sys
from podwire.compile import compile_plans
from podwire.plan.text import format_plans
from podwire.testing.generate import generate_cluster
from podwire.testing.build import node, snapshot
import random
objects = generate_cluster(7) + [node("node-1", "10.89.0.10"), node("node-2", "10.89.0.11", pod_cidr="10.244.1.0/24")]
for number, value in enumerate(o for o in objects if o["kind"] == "Pod"):
    value["metadata"]["uid"] = value["metadata"]["name"]
    value["spec"]["nodeName"] = f"node-{number % 2 + 1}"
    value["status"] = {"phase": "Running", "podIP": f"10.244.{number % 2}.{number + 2}"}
random.Random(int(sys.argv[1])).shuffle(objects)
print(format_plans(compile_plans(snapshot(*objects))))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_equal_input_gives_equal_bytes(seed: str) -> None:
    texts = [
        subprocess.run(
            [sys.executable, "-c", CODE, order],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
        for order, hashes in (("0", "0"), (seed, seed))
    ]
    assert texts[0] == texts[1]
    assert "decision" in texts[0]
