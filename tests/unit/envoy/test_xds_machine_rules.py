"""The rules of the state machine, one by one."""

from podwire.planes.envoy.machine import Machine, Request, Response, Type, Wanted


def wanted(**kinds: dict[str, dict[str, bytes]]) -> Wanted:
    base: Wanted = {"cluster": {}, "endpoint": {}, "secret": {}, "listener": {}, "route": {}}
    return {**base, **kinds}  # type: ignore[dict-item]


def connected(plan: Wanted) -> Machine:
    machine = Machine()
    machine.want(plan)
    machine.connect()
    return machine


def only(machine: Machine) -> Response:
    (response,) = machine.poll()
    return response


def confirm(machine: Machine, response: Response) -> None:
    machine.receive(Request(response.type, nonce=response.nonce))


def refuse(machine: Machine, response: Response, words: str = "no") -> None:
    machine.receive(Request(response.type, nonce=response.nonce, error=words))


def names(response: Response) -> list[str]:
    return [sent.name for sent in response.resources]


def ask(machine: Machine, type_: Type, *subscribe: str) -> None:
    machine.receive(Request(type_, subscribe=subscribe))


def test_nothing_is_answered_before_the_first_plan() -> None:
    machine = Machine()
    machine.connect()
    ask(machine, "cluster")
    assert machine.poll() == ()
    machine.want(wanted())
    assert only(machine) == Response("cluster", (), (), "1")


def test_an_unknown_name_is_answered_with_removed() -> None:
    machine = connected(wanted())
    ask(machine, "secret", "nobody")
    assert only(machine).removed == ("nobody",)


def test_a_subscription_is_answered_again() -> None:
    machine = connected(wanted(secret={"s": {"certificate/s": b"1"}}))
    for _ in range(2):
        ask(machine, "secret", "s")
        response = only(machine)
        assert names(response) == ["s"]
        confirm(machine, response)
    assert machine.poll() == ()


def test_changes_while_a_response_is_in_flight_are_merged() -> None:
    machine = connected(wanted(cluster={"c": {"cluster/c": b"1"}}))
    ask(machine, "cluster")
    first = only(machine)
    for body in (b"2", b"3"):
        machine.want(wanted(cluster={"c": {"cluster/c": body}}))
        assert machine.poll() == ()
    confirm(machine, first)
    assert not machine.has("cluster", "c", "cluster/c")
    second = only(machine)
    assert [s.body for s in second.resources] == [b"3"]
    confirm(machine, second)
    assert machine.has("cluster", "c", "cluster/c")


def test_a_change_back_during_flight_is_sent() -> None:
    machine = connected(wanted(cluster={"c": {"cluster/c": b"1"}}))
    ask(machine, "cluster")
    confirm(machine, only(machine))
    machine.want(wanted(cluster={"c": {"cluster/c": b"2"}}))
    flight = only(machine)
    machine.want(wanted(cluster={"c": {"cluster/c": b"1"}}))
    confirm(machine, flight)
    assert [s.body for s in only(machine).resources] == [b"1"]


def serve(machine: Machine) -> None:
    """Cluster c with endpoints, and route r, all confirmed."""
    ask(machine, "cluster")
    confirm(machine, only(machine))
    ask(machine, "endpoint", "c")
    confirm(machine, only(machine))
    ask(machine, "route", "r")
    confirm(machine, only(machine))


BOTH = {
    "endpoint": {"c": {"cluster/c": b"e"}, "d": {"cluster/d": b"e"}},
    "cluster": {"c": {"cluster/c": b"1"}, "d": {"cluster/d": b"1"}},
}
ONE = {"endpoint": {"c": {"cluster/c": b"e"}}, "cluster": {"c": {"cluster/c": b"1"}}}


def test_routes_wait_for_their_clusters_and_clusters_for_their_routes_to_go() -> None:
    machine = connected(wanted(**ONE, route={"r": {"": b"to c"}}))
    serve(machine)
    machine.want(wanted(**BOTH, route={"r": {"": b"to d"}}))
    clusters = only(machine)
    assert names(clusters) == ["d"]
    confirm(machine, clusters)
    assert machine.poll() == (), "endpoints of d are not even asked for"
    ask(machine, "endpoint", "d")
    endpoints = only(machine)
    assert names(endpoints) == ["d"]
    confirm(machine, endpoints)
    confirm(machine, only(machine))
    only_d = {"endpoint": {"d": {"cluster/d": b"e"}}, "cluster": {"d": {"cluster/d": b"1"}}}
    machine.want(wanted(**only_d, route={"r": {"": b"to d2"}}))
    routes = only(machine)
    assert routes.type == "route"
    confirm(machine, routes)
    assert only(machine).removed == ("c",)


def test_endpoints_follow_every_cluster() -> None:
    machine = connected(wanted(**ONE, route={"r": {"": b"to c"}}))
    serve(machine)
    machine.want(wanted(cluster={"c": {"cluster/c": b"2"}}, endpoint=ONE["endpoint"], route={"r": {"": b"to c"}}))
    confirm(machine, only(machine))
    again = only(machine)
    assert (again.type, names(again)) == ("endpoint", ["c"])


def test_the_culprit_is_found_by_halving() -> None:
    hosts = {f"host/{i:02}": b"!" if i == 5 else b"." for i in range(16)}
    machine = connected(wanted(route={"r": {"": b"frame", **hosts}}))
    ask(machine, "route", "r")
    sizes = []
    while responses := machine.poll():
        (response,) = responses
        body = response.resources[0].body
        sizes.append(len(body))
        if b"!" in body:
            refuse(machine, response, "duplicate domain")
        else:
            confirm(machine, response)
    assert len(sizes) <= 16
    assert machine.refusal("route", "r", "host/05") == "duplicate domain"
    assert [k for k in hosts if not machine.has("route", "r", k)] == ["host/05"]
    machine.want(wanted(route={"r": {"": b"frame", **hosts, "host/05": b"."}}))
    confirm(machine, only(machine))
    assert machine.refusal("route", "r", "host/05") is None
    assert machine.has("route", "r", "*")


def test_a_refused_change_leaves_the_last_form() -> None:
    machine = connected(wanted(**ONE))
    ask(machine, "cluster")
    confirm(machine, only(machine))
    machine.want(wanted(cluster={"c": {"cluster/c": b"!"}}))
    refuse(machine, only(machine))
    assert machine.poll() == ()
    machine.disconnect()
    machine.connect()
    ask(machine, "cluster")
    assert [s.body for s in only(machine).resources] == [b"1"], "a new Envoy gets the last accepted form"


def test_refused_frames_are_tried_again_on_request() -> None:
    machine = connected(wanted(listener={"http": {"": b"port 80"}}))
    ask(machine, "listener")
    refuse(machine, only(machine), "Address already in use")
    assert machine.poll() == ()
    assert machine.retry()
    confirm(machine, only(machine))
    assert machine.has("listener", "http", "")
    assert not machine.retry()


def test_stale_answers_are_ignored() -> None:
    machine = connected(wanted(**ONE))
    ask(machine, "cluster")
    only(machine)
    machine.receive(Request("cluster", nonce="0"))
    assert not machine.has("cluster", "c", "cluster/c")
    machine.receive(Request("cluster", nonce="0", error="old"))
    assert machine.refusal("cluster", "c", "cluster/c") is None
