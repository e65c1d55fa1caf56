"""No field of a pod is accepted and ignored: the schema against the table of what happens to each."""

from typing import Any

import pytest
from tests.unit.simulate import World, pod

from podwire.compile.pod_fields import FIELDS
from podwire.kube import pod_parts, pods
from podwire.plan import Plans
from podwire.plan import node as plan
from podwire.snapshot import ImageRule, ImageRun, Settings

TYPES = {
    "PodSpec": (pods.PodSpec,),
    "Container": (pods.Container, pods.EphemeralContainer),
    "ResourceRequirements": (pods.ResourceRequirements,),
    "VolumeMount": (pods.VolumeMount,),
    "Lifecycle": (pod_parts.Lifecycle,),
    "SecurityContext": (pod_parts.SecurityContext,),
    "PodSecurityContext": (pod_parts.PodSecurityContext,),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_of_the_schema_has_its_treatment(kind: str) -> None:
    schema = {name for type_ in TYPES[kind] for name in type_.__struct_encode_fields__}
    assert schema == set(FIELDS[kind])


SAMPLES: dict[str, dict[str, Any]] = {
    "PodSpec": {
        "hostPID": True,
        "hostUsers": False,
        "runtimeClassName": "kata",
        "os": {"name": "windows"},
        "resourceClaims": [{"name": "gpu"}],
        "resources": {"limits": {"cpu": "1"}},
        "schedulingGroup": {"podGroupName": "g"},
        "evictionResponders": [{"name": "r"}],
        "enableServiceLinks": True,
    },
    "PodSecurityContext": {
        "sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}],
        "seLinuxOptions": {"level": "s0"},
        "seLinuxChangePolicy": "Recursive",
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "RuntimeDefault"},
    },
    "Container": {
        "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
        "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}],
    },
    "ResourceRequirements": {"limits": {"cpu": "1"}, "claims": [{"name": "gpu"}]},
    "VolumeMount": {"mountPropagation": "Bidirectional", "bindMountOptions": ["noexec"]},
    "SecurityContext": {
        "privileged": True,
        "seLinuxOptions": {"level": "s0"},
        "procMount": "Default",
        "seccompProfile": {"type": "RuntimeDefault"},
        "appArmorProfile": {"type": "RuntimeDefault"},
    },
    "Lifecycle": {},
}
PLACES = {
    "PodSpec": "spec",
    "PodSecurityContext": "spec.securityContext",
    "Container": "spec.containers[0]",
    "ResourceRequirements": "spec.containers[0].resources",
    "VolumeMount": "spec.containers[0].volumeMounts[0]",
    "SecurityContext": "spec.containers[0].securityContext",
}


def everything() -> dict[str, Any]:
    value = pod("p", nodeName="node-1", **SAMPLES["PodSpec"], securityContext=SAMPLES["PodSecurityContext"])
    container = value["spec"]["containers"][0]
    container |= SAMPLES["Container"] | {
        "args": ["$(WEB_SERVICE_HOST)", "$(KUBERNETES_SERVICE_HOST)"],
        "resources": SAMPLES["ResourceRequirements"],
        "securityContext": SAMPLES["SecurityContext"],
        "volumeMounts": [{"name": "v", "mountPath": "/v", **SAMPLES["VolumeMount"]}],
    }
    value["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    return value


def test_every_reported_field_is_a_finding_where_it_is_written() -> None:
    reported = {(k, name) for k, fields in FIELDS.items() for name, t in fields.items() if t.how == "reported"}
    assert reported == {(kind, name) for kind, sample in SAMPLES.items() for name in sample}
    world = World()
    world.apply(everything())
    told = {str(f.path) for f in world.compile().findings if f.code == "PW6024"}
    assert told == {f"{PLACES[kind]}.{name}" for kind, name in reported}


def test_a_plain_pod_is_not_told_anything() -> None:
    world = World()
    world.apply(pod("p", nodeName="node-1", hostUsers=True, os={"name": "linux"}, enableServiceLinks=True))
    assert [f for f in world.compile().findings if f.code == "PW6024"] == []


def compiled(context: dict[str, Any], image: str = "busybox", **settings: Any) -> tuple[plan.Pod, Plans]:
    world = World(Settings(planes=False, **settings))
    value = pod("p", nodeName="node-1")
    value["spec"]["containers"][0] |= {"image": image, "securityContext": context}
    world.apply(value)
    plans = world.compile()
    return plans.nodes.pods["default/p"], plans


OWN = (ImageRule("mine", (), "an image on disk", run=ImageRun(root=("/r",), user="app")),)
MAPPED = (ImageRule("mine", ("sleep", "1"), "mapped"),)


@pytest.mark.parametrize(
    ("context", "image", "rules", "why"),
    [
        ({"runAsNonRoot": True, "runAsUser": 1000}, "busybox", (), ""),
        ({"runAsNonRoot": True, "runAsUser": 0}, "busybox", (), "container's runAsUser breaks non-root policy"),
        ({"runAsNonRoot": True}, "busybox", (), "container has runAsNonRoot and image will run as root"),
        ({"runAsNonRoot": False}, "busybox", (), ""),
        ({"runAsNonRoot": True}, "example.com/standin", (), ""),
        (
            {"runAsNonRoot": True},
            "mine",
            OWN,
            "container has runAsNonRoot and image has non-numeric user (app), cannot",
        ),
        ({"runAsNonRoot": True}, "mine", MAPPED, ""),
    ],
)
def test_run_as_non_root(context: dict[str, Any], image: str, rules: tuple[ImageRule, ...], why: str) -> None:
    unit, plans = compiled(context, image, images=rules)
    problems = [f.message for f in plans.findings if f.code == "PW6022"]
    assert unit.run is not bool(why)
    assert len(problems) == bool(why) and all(p.startswith(why) for p in problems)
    assert all(p.endswith('(pod: "p_default(uid-4)", container: main)') for p in problems)
    assert any(f.code == "PW6024" for f in plans.findings) is (rules is MAPPED)


def test_capabilities_that_are_dropped() -> None:
    def kept(**capabilities: list[str]) -> tuple[str, ...] | None:
        return compiled({"capabilities": capabilities})[0].containers[0].capabilities

    assert kept(add=["NET_ADMIN"]) is None
    assert kept(drop=["ALL"]) == ()
    assert kept(drop=["all"], add=["CAP_NET_BIND_SERVICE"]) == ("NET_BIND_SERVICE",)
    assert "NET_RAW" not in (kept(drop=["NET_RAW"]) or ()) and "CHOWN" in (kept(drop=["NET_RAW"]) or ())
    _, plans = compiled({"capabilities": {"drop": ["FLYING"]}})
    assert [f.message for f in plans.findings if f.code == "PW6024"] == ["there is no capability FLYING"]
