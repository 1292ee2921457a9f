"""Text and JSON that say no graph are refused with the place of the fault, whatever they hold."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.ir import text as text_module
from netdsl.ir import values as values_module
from netdsl.ir.dims import Expr, symbol
from netdsl.ir.graph import (
    Graph,
)
from netdsl.ir.reader import read_size
from netdsl.ir.schema import from_json, to_json
from netdsl.ir.text import read_graph
from netdsl.ir.types import Tensor
from netdsl.ir.values import GraphFormatError
from netdsl.ir.verify import verify
from tests.strategies_graph import (
    TEXT,
    VOCABULARY,
    H,
    N,
    W,
    outer,
    small,
)


def edited(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, f"{old} stands once in the text"
    return TEXT.replace(old, new)


BAD_TEXTS = [
    ("", "line 1: there is no graph"),
    ("  output %0", "line 1, column 3: expected `@name:`, found `output`"),
    (
        edited("init ", "oops "),
        "line 21, column 3: expected a value, `output`, `init`, `tie`, `constraint` or `doc`",
    ),
    (edited("normal(", "uniform("), "line 8: there is no initialiser `uniform`"),
    (edited("%3 = add(", "%3 = sub("), "line 10: there is no operation `sub`"),
    (edited("add()(4)", "add(bad = 1)(4)"), "line 2: operation `add`: `bad` is not an argument"),
    (edited("add()(4)", "add(k = 1, k = 2)(4)"), "line 2, column 21: `k` is given twice"),
    (edited("add()(4)", "add(k = Slice())(4)"), "line 2: there is no value `Slice`"),
    (edited(": int64[4]\n  output %0", ": int65[4]\n  output %0"), "line 2, column 19: expected a dtype"),
    (edited("@index unsaved", "@Index unsaved"), "line 18, column 40: there is no `@Index` above"),
    (edited("output logits: %5", "output logits: 5"), "line 22, column 18: expected `%`, found `5`"),
    (
        edited("output logits: %5", "output logits: %5 always"),
        "line 22, column 21: expected the end of the line",
    ),
    (edited("output logits: %5", "output logits: %7"), "Outer: output logits: value 7 does not exist"),
    (edited("H % 2 == 0", "H % 2 = 0"), "line 23, column 20: expected a relation, found `=`"),
    (edited("H % 2 == 0", "H % 0 == 0"), "line 23, column 20: a dimension divided by zero"),
    (edited("[2*H, 8]\n  %2", "[2*, 8]\n  %2"), "line 17, column 20: expected a size, found `,`"),
    (edited("%1 = input", "%2 = input"), "line 17, column 25: input `y` is value %1"),
    (edited("@Small: block", "@index: block"), "line 5, column 7: `@index` is there already"),
    (edited("@Small: block", "@Small: brick"), "Small: the kind of a graph is one of"),
    (edited('"Two layers', '"\\x Two layers'), "line 6, column 7: expected a text with valid escapes"),
    (edited("(%0) with", "(%0, $) with"), "line 19, column 29: expected a size, found `$`"),
    (edited("scale: [8]", "scale: unknown"), "line 8, column 29: expected a shape before"),
    (edited("add()(4)", "add(k = 9**99)(4)"), "line 2, column 21: expected a smaller power"),
    (edited("add()(4)", f"add(k = {'[' * 200})(4)"), "nested more than 100 deep"),
    (edited("add()(4)", f"add(k = {'(' * 200})(4)"), "nested more than 100 deep"),
    (edited("add()(4)", f"add(k = {'-' * 200}1)(4)"), "nested more than 100 deep"),
    (edited("add()(4)", f"add(k = {'9' * 5000})(4)"), "line 2, column 16: expected a number"),
    (edited("add()(4)", 'add(k = float("big"))(4)'), 'expected `float("inf")`'),
]


@pytest.mark.parametrize(("text", "message"), BAD_TEXTS, ids=[message for _, message in BAD_TEXTS])
def test_a_text_that_is_no_graph_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read_graph(text, VOCABULARY)
    assert str(raised.value).startswith(message) or message in str(raised.value)


def changed(path: str, value: Any) -> str:
    """The JSON of the example with the entry at `path` replaced."""
    data = json.loads(to_json(outer(small())))
    *steps, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
    entry = data
    for step in steps:
        entry = entry[step]
    entry[last] = value
    return json.dumps(data)


BAD_JSON = [
    ("", "the file: Invalid JSON"),
    ("[]", "the file: Input should be an object"),
    (changed("version", 2), "version: Input should be 1"),
    (changed("format", "other"), "format: Input should be 'netdsl graph'"),
    (changed("extra", 1), "the file: Extra inputs are not permitted"),
    (changed("graphs", []), "graphs: List should have at least 1 item"),
    (changed("graphs/1/kind", "thing"), "graphs[1].kind: Input should be 'model'"),
    (changed("graphs/1/nodes/0/results", "x"), "graphs[1].nodes[0].results: Input should be a valid array"),
    (changed("graphs/1/nodes/0/types/0/shape/1", 1.5), "graphs[1].nodes[0].types[0].shape[1]: Input should"),
    (
        changed("graphs/1/nodes/0/types/0/shape/1", "H//"),
        "graphs[1].nodes[0].types[0]: size, column 4: expected a size",
    ),
    (
        changed("graphs/1/nodes/0/types/0/dtype", "int65"),
        "graphs[1].nodes[0].types[0]: there is no dtype `int65`",
    ),
    (changed("graphs/1/nodes/1/op/kind", "sub"), "graphs[1].nodes[1]: there is no operation `sub`"),
    (
        changed("graphs/1/nodes/1/op/arguments", {"bad": 1}),
        "graphs[1].nodes[1]: operation `add`: `bad` is not",
    ),
    (
        changed("graphs/1/nodes/1/op/arguments", {"k": {"what": 1}}),
        "graphs[1].nodes[1].k: an object with what is no",
    ),
    (
        changed("graphs/1/nodes/1/op/arguments", {"k": {"size": "H//0"}}),
        "graphs[1].nodes[1].k: size, column 5: a dim",
    ),
    (
        changed("graphs/1/parameters/0/init/kind", "uniform"),
        "graphs[1].parameters[0]: there is no initialiser",
    ),
    (changed("graphs/2/nodes/0/op", 2), "graphs[2].nodes[0]: graph 2 does not come before this one"),
    (changed("graphs/2/nodes/0/op", -1), "graphs[2].nodes[0].op: Input should be"),
    (changed("graphs/2/outputs/0/value", 7), "Outer: output logits: value 7 does not exist"),
    (changed("graphs/2/constraints/0/op", "="), "graphs[2].constraints[0].op: Input should be '<'"),
]


@pytest.mark.parametrize(("text", "message"), BAD_JSON, ids=[message for _, message in BAD_JSON])
def test_json_that_is_no_graph_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        from_json(text, VOCABULARY)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("read", [read_graph, from_json], ids=["text", "json"])
@settings(max_examples=150)
@given(st.data())
def test_damaged_files_are_refused_or_are_graphs(read: Callable[..., Graph], data: st.DataObject) -> None:
    source = TEXT if read is read_graph else to_json(outer(small()))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(source)))
        end = min(len(source), start + data.draw(st.integers(0, 6)))
        scrap = data.draw(
            st.sampled_from(["", "%", "(", "[", '"', "9", "{", "}", ",", " N", "//", "**9", "@", "\n", "-"])
        )
        source = source[:start] + scrap + source[end:]
    try:
        graph = read(source, VOCABULARY)
    except GraphFormatError:
        return
    assert verify(graph) == []


@settings(max_examples=150)
@given(st.text(alphabet="NHW019 +-*/%()", max_size=20))
def test_a_size_reads_as_python_reads_it(source: str) -> None:
    try:
        expected = eval(source, {"__builtins__": {}}, {"N": N, "H": H, "W": W})
    except Exception:
        return
    if not isinstance(expected, (int, Expr)):
        return
    try:
        assert read_size(source) == expected
    except GraphFormatError:
        assert (
            "+" in source or "/" in source or "**" in source
        )  # unary plus, `/` and signed powers are not read


@pytest.mark.parametrize("module", [text_module, values_module], ids=lambda module: module.__name__)
def test_documented_examples_are_true(module: Any) -> None:
    names = {"symbol": symbol, "Tensor": Tensor}
    assert doctest.testmod(module, extraglobs=names).failed == 0
