"""CEL as Kubernetes has it: values, macros, errors, types, functions, cost."""

from typing import Any

import pytest

from podwire.kube.cel_compile import compile_expression
from podwire.kube.cel_env import CompileError, CostExceeded
from podwire.kube.cel_types import BOOL, DYN, INT, STRING, Decl
from podwire.kube.cel_values import CelError


def run(text: str, value: Any = None) -> Any:
    return compile_expression(text, {"self": DYN}).evaluate({"self": value})[0]


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("1 + 2 * 3 == 7", None, True),
        ("-7 / 2", None, -3),
        ("-7 % 2", None, -1),
        ("7.0 / 2.0", None, 3.5),
        ("'a' + 'b' == 'ab' ? 'yes' : 'no'", None, "yes"),
        ("self.x > 1.5", {"x": 2}, True),
        ("1 == 1.0 || false", None, True),
        ("self.a in ['x', 'y']", {"a": "y"}, True),
        ("'k' in self", {"k": 1}, True),
        ("has(self.a) && has(self.a.b)", {}, False),
        ("self.missing || true", {}, True),
        ("true || self.missing", {}, True),
        ("!(self.missing && false)", {}, True),
        ("self.all(x, x > 0)", [1, 2], True),
        ("self.exists(x, x > 1)", ["a", 2], True),
        ("self.exists_one(x, x > 1)", [1, 2], True),
        ("self.map(x, x * 2)", [1, 2], [2, 4]),
        ("self.map(x, x > 1, x * 2)", [1, 2], [4]),
        ("self.filter(x, x > 1)", [1, 2], [2]),
        ("self.all(k, self[k] == 1)", {"a": 1}, True),
        ("self.all(i, v, v == i + 1)", [1, 2], True),
        ("self.transformList(i, v, i + v)", [1, 2], [1, 3]),
        ("self.transformMap(k, v, v + 1)", {"a": 1}, {"a": 2}),
        ("self.transformMapEntry(k, v, {v: k})", {"a": "b"}, {"b": "a"}),
        ("self.all(x, self.exists(y, x.n == y.n) && self.exists_one(x, x.n == 1))", [{"n": 1}, {"n": 2}], True),
        ("self.?a.?b.orValue('none')", {"a": {}}, "none"),
        ("self.?a.optMap(x, x + 1).orValue(0)", {"a": 1}, 2),
        ("[1, ?self.?a]", {}, [1]),
        ("{?'a': self.?a, 'b': 1}", {"a": 2}, {"a": 2, "b": 1}),
        ("self[?3].hasValue()", [1], False),
        ("self.__namespace__ == 'x' && self.a__dash__b == 1", {"namespace": "x", "a-b": 1}, True),
        ("size('héé') == 3 && 'ab'.size() == 2", None, True),
        ("duration('1h30m') > duration('45m')", None, True),
        ("timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')", None, True),
        ("timestamp('2024-02-03T04:05:06Z').getMonth()", None, 1),
        ("duration('90s').getMinutes()", None, 1),
        ("int('12') + int(2.9)", None, 14),
        ("string(3) + string(true) + string(1.5)", None, "3true1.5"),
        ("type(self) == map && type(1) == int", {}, True),
        ("self.matches('^[a-z]+$')", "abc", True),
        ("self.matches('^[a-z]+$')", "abc\n", False),
        ("self.find('[0-9]+')", "a12b3", "12"),
        ("self.findAll('[0-9]+', 1)", "a12b3", ["12"]),
        ("'a,b,c'.split(',', 2)", None, ["a", "b,c"]),
        ("['a', 'b'].join('-')", None, "a-b"),
        ("'tacocat'.indexOf('c') == 2 && 'tacocat'.lastIndexOf('c') == 4", None, True),
        ("'hello'.substring(1, 3) + 'x'.replace('x', 'y') + ' a '.trim() + 'A'.lowerAscii()", None, "elyaa"),
        ("'%s=%d %.2f %x'.format(['a', 1, 1.5, 255])", None, "a=1 1.50 ff"),
        ("strings.quote('a\"b')", None, '"a\\"b"'),
        ("[1, 2, 3].isSorted() && [1, 2].sum() == 3 && [3, 1].min() == 1 && [3, 1].max() == 3", None, True),
        ("[3, 1, 3].distinct() == [3, 1] && [[1], [2]].flatten() == [1, 2] && [2, 1].sort() == [1, 2]", None, True),
        ("self.sortBy(x, x.n)[0].n", [{"n": 2}, {"n": 1}], 1),
        ("sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])", None, True),
        ("quantity('1Gi').isGreaterThan(quantity('1000Mi')) && isQuantity('5m') && !isQuantity('x')", None, True),
        ("quantity('1.0') == quantity('1') && quantity('2').add(1).asInteger() == 3", None, True),
        ("ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('010.0.0.1') && !isIP('::ffff:1.2.3.4')", None, True),
        ("cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", None, True),
        ("!isCIDR('10.0.0.1/8') && cidr('10.0.0.0/8').prefixLength() == 8", None, True),
        ("ip.isCanonical('::1') && ip('127.0.0.1').isLoopback() && ip('8.8.8.8').isGlobalUnicast()", None, True),
        ("url('https://h:80/a?b=c').getHost() == 'h:80' && url('https://h:80/').getPort() == '80'", None, True),
        (
            "isURL('https://a.b/c') && !isURL('not a url') && url('https://h/a?b=c').getQuery()['b'] == ['c']",
            None,
            True,
        ),
        ("semver('1.2.3').isLessThan(semver('1.10.0')) && isSemver('1.0.0-rc.1') && !isSemver('1.0')", None, True),
        ("semver('1.0.0-rc.1').compareTo(semver('1.0.0'))", None, -1),
    ],
)
def test_value(text: str, value: Any, expected: Any) -> None:
    assert run(text, value) == expected


@pytest.mark.parametrize(
    ("text", "value", "words"),
    [
        ("self.a", {}, "no such key: a"),
        ("1 / 0", None, "division by zero"),
        ("9223372036854775807 + 1", None, "integer overflow"),
        ("self[3]", [1], "index out of bounds: 3"),
        ("self.a && true", {"a": 1}, "no such overload"),
        ("self.all(x, x.n > 0)", [{"n": 1}, {}], "no such key: n"),
        ("self < 'a'", 1, "no such overload"),
        ("ip(self)", "fe80::1%eth0", "zone"),
        ("self.matches('(?=a)')", "a", "invalid perl operator"),
    ],
)
def test_error(text: str, value: Any, words: str) -> None:
    with pytest.raises(CelError, match=words.replace("(", "\\(")):
        run(text, value)


OBJECT = Decl("map", fields={"name": STRING, "port": INT, "tags": Decl("list", STRING), "on": BOOL})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("self.nam == 'x'", "undefined field 'nam'"),
        ("has(self.nam)", "undefined field 'nam'"),
        ("other.x", "undeclared reference to 'other'"),
        ("self.name.foo()", "undeclared reference to 'foo'"),
        ("self.name > 1", "found no matching overload for '_>_' applied to '(string, int)'"),
        ("self.port + 'x'", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("self.tags.all(t, t.size() > 'x')", "found no matching overload"),
        ("self.name.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("self.on ? 1", "Syntax error"),
        ("self.port.all(x, true)", "cannot be range of a comprehension"),
        ("(" * 300 + "1" + ")" * 300, "recursion limit"),
        ("1" + " + 1" * 300, "recursion limit"),
        ("99999999999999999999", "invalid int literal"),
    ],
)
def test_compile_error(text: str, words: str) -> None:
    with pytest.raises(CompileError) as found:
        compile_expression(text, {"self": OBJECT})
    assert words in str(found.value)


def test_result_type_is_known() -> None:
    assert compile_expression("self.port > 1 && self.on", {"self": OBJECT}).type.kind == "bool"
    assert compile_expression("self.name + 'x'", {"self": OBJECT}).type.kind == "string"


@pytest.mark.parametrize(
    "text",
    [
        "self.all(a, self.all(b, self.all(c, a + b + c > 0)))",
        "self.map(a, self.map(b, self)).size() > 0 && self.all(a, self.all(b, self.all(c, c > 0)))",
        "self.all(a, a in self && a in self && self == self)",
    ],
)
def test_budget_ends_runaway_rules(text: str) -> None:
    with pytest.raises(CostExceeded):
        compile_expression(text, {"self": DYN}).evaluate({"self": list(range(1, 3001))}, 100_000)


def test_backtracking_patterns_take_linear_time() -> None:
    assert run("self.matches('^(a+)+$')", "a" * 50_000 + "b") is False
