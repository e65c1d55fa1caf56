"""What the CNI plugin takes, refuses and answers: pure, each refusal with its number of the specification."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.cli import cni
from podwire.cli.cni_config import Config, Environment, names_of, parse_config, parse_environment
from podwire.cli.cni_result import SUPPORTED, format_error, format_result
from podwire.node.attach_words import Answer, Attachment, Key, PortMapping, Refused

Json = dict[str, Any]
BASE: Json = {"cniVersion": "1.1.0", "name": "net", "type": "podwire-cni"}
KEY = Key("net", "c1", "eth0")
MADE = Attachment(KEY, "node-1", "shop", "web", ("10.244.0.5",), "cabc", "0a:58:0a:f4:00:05")
RESOLV = "search shop.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
DONE = Answer(attachment=MADE, gateways=("169.254.1.1",), link_mac="ee:ee:ee:ee:ee:ee", mtu=1450, resolv_conf=RESOLV)
WHERE = Environment("c1", "/run/netns/x", "eth0", {})


def refusal(value: Json) -> Answer:
    with pytest.raises(Refused) as caught:
        parse_config(value)
    return caught.value.answer


def test_a_configuration_with_everything() -> None:
    config = parse_config({
        **BASE,
        "cluster": "dev",
        "node": "node-2",
        "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp"}]},
        "args": {"cni": {"labels": [{"key": "app", "value": "web"}], "ips": ["10.244.1.7/24"]}, "other": 1},
        "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}],
        "cni.dev/of-tomorrow": True,
    })  # fmt: skip
    assert (config.cluster, config.node, config.address) == ("dev", "node-2", "10.244.1.7")
    assert config.labels == (("app", "web"),)
    assert config.ports == (PortMapping(80, 8080),)
    assert [v.container_id for v in config.valid] == ["a"]


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"cniVersion": "0.2.0"}, 1, "0.2.0"),
        ({"cniVersion": None}, 1, "None"),
        ({"ipam": {"type": "dhcp"}}, 2, 'unsupported field ipam: {"type":"dhcp"}'),
        ({"runtimeConfig": {"mac": "c2:11:22:33:44:55"}}, 2, 'runtimeConfig.mac: "c2:11:22:33:44:55"'),
        ({"runtimeConfig": {"portMappings": [{"hostPort": "x"}]}}, 6, "does not parse"),
        ({"runtimeConfig": 5}, 6, "does not parse"),
        ({"cluster": 5}, 6, "does not parse"),
        ({"name": "../x"}, 7, "name '../x'"),
        ({"name": ""}, 7, "name ''"),
        ({"runtimeConfig": {"ips": ["10.0.0.1", "10.0.0.2"]}}, 7, "a pod has one address"),
        ({"runtimeConfig": {"ips": ["nonsense"]}}, 7, "nonsense"),
    ],
)
def test_refusals(more: Json, code: int, words: str) -> None:
    answer = refusal({**BASE, **more})
    assert (answer.code, words in answer.message) == (code, True), answer


def test_empty_values_of_other_plugins_fields_are_nothing() -> None:
    assert parse_config({**BASE, "ipam": {}, "ipMasq": False}) == Config("1.1.0", "net")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"CNI_CONTAINERID": "-a", "CNI_IFNAME": "eth0", "CNI_NETNS": "/x"}, "CNI_CONTAINERID ('-a')"),
        ({"CNI_CONTAINERID": "a", "CNI_IFNAME": "a:b", "CNI_NETNS": "/x"}, "CNI_IFNAME ('a:b')"),
        ({"CNI_CONTAINERID": "a", "CNI_IFNAME": "x" * 16, "CNI_NETNS": "/x"}, "CNI_IFNAME"),
        ({"CNI_CONTAINERID": "a", "CNI_IFNAME": "eth0"}, "CNI_NETNS"),
        ({}, "CNI_CONTAINERID (''), CNI_IFNAME (''), CNI_NETNS"),
    ],
)
def test_variables_that_are_wrong_are_all_named(variables: dict[str, str], words: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_environment(variables).key(Config("1.1.0", "net"), "ADD")
    assert (caught.value.answer.code, words in caught.value.answer.message) == (4, True)


def test_names_come_from_the_runtime_or_from_the_container() -> None:
    told = parse_environment({"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"})
    assert names_of(told) == ("shop", "web-0")
    alone = parse_environment({"CNI_CONTAINERID": f"A_b.c-{'f' * 64}"})
    namespace, name = names_of(alone)
    assert (namespace, name) == ("default", f"cni-a-b-c-{'f' * 34}")


def test_a_result_has_both_ends_and_the_way_out() -> None:
    result = json.loads(format_result(Config("1.1.0", "net"), WHERE, DONE))
    assert [i["name"] for i in result["interfaces"]] == ["cabc", "eth0"]
    assert [i["mtu"] for i in result["interfaces"]] == [1450, 1450]
    assert result["ips"] == [{"address": "10.244.0.5/32", "gateway": "169.254.1.1", "interface": 1}]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}]
    assert result["dns"] == {
        "nameservers": ["10.96.0.10"], "search": ["shop.svc.cluster.local"], "options": ["ndots:5"],
    }  # fmt: skip


def test_a_previous_result_is_passed_on_and_added_to() -> None:
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "other"}], "ips": [{"address": "192.0.2.1/24"}], "x": 1}
    result = json.loads(format_result(Config("1.0.0", "net", previous=previous), WHERE, DONE))
    assert [i["name"] for i in result["interfaces"]] == ["other", "cabc", "eth0"]
    assert (result["ips"][0]["address"], result["ips"][1]["interface"], result["x"]) == ("192.0.2.1/24", 2, 1)


def test_the_runtimes_dns_goes_first() -> None:
    value = {**BASE, "dns": {"nameservers": ["192.0.2.1"]}, "runtimeConfig": {"dns": {"servers": ["192.0.2.2"]}}}
    assert json.loads(format_result(parse_config(value), WHERE, DONE))["dns"] == {"nameservers": ["192.0.2.2"]}


def test_version_needs_nothing_else() -> None:
    said = json.loads(cni.run({"CNI_COMMAND": "VERSION"}, {"cniVersion": "0.4.0"}))
    assert said == {"cniVersion": "0.4.0", "supportedVersions": list(SUPPORTED)}
    with pytest.raises(Refused) as caught:
        cni.run({"CNI_COMMAND": "UPDATE"}, BASE)
    assert "CNI_COMMAND: 'UPDATE'" in caught.value.answer.message


def test_errors_have_the_form_of_the_specification() -> None:
    assert json.loads(format_error("1.1.0", Answer(7, "m", "d"))) == {
        "cniVersion": "1.1.0", "code": 7, "msg": "m", "details": "d",
    }  # fmt: skip


WORDS = st.text("ab/.:0", max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.just("cni"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["cniVersion", "name", "args", "runtimeConfig", "dns", "node", "cluster",
                                        "prevResult", "cni.dev/valid-attachments", "ipam"]), values))  # fmt: skip
def test_any_configuration_is_taken_or_refused(value: Json) -> None:
    try:
        parse_config({**BASE, **value})
    except Refused as refused:
        assert refused.answer.code in range(1, 8)
