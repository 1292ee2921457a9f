"""Random syntax trees that a text could have, and random changes to texts."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from hypothesis import strategies as st

from netdsl.source import Source, Span
from netdsl.syntax import tree

NOWHERE = Span(Source(""), 0, 0)
FLOW, CONDITIONAL, OR, AND, NOT, COMPARE, SUM, TERM, SIGN, POWER, POSTFIX = range(11)
OPERATORS = {
    "or": OR,
    "and": AND,
    "+": SUM,
    "-": SUM,
    "*": TERM,
    "//": TERM,
    "%": TERM,
    "@": TERM,
    "**": POWER,
}
COMPARISONS = ["<", ">", "<=", ">=", "==", "!=", "in", "not in"]

# Words that are keywords in some places are names in all others.
NAMES = [
    "x",
    "y",
    "N",
    "_",
    "conv1",
    "input",
    "output",
    "model",
    "block",
    "param",
    "init",
    "tie",
    "when",
    "from",
    "train",
]


def same_trees(one: Any, other: Any) -> bool:
    """Whether two trees are equal in everything but their places, however deep they are."""
    pending = [(one, other)]
    while pending:
        left, right = pending.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, tuple):
            if len(left) != len(right):
                return False
            pending += zip(left, right, strict=True)
        elif is_dataclass(left):
            names = [field.name for field in fields(left) if not field.name.endswith("span")]
            pending += [(getattr(left, name), getattr(right, name)) for name in names]
        elif left != right:
            return False
    return True


def binding(node: Any) -> int:
    match node:
        case tree.Flow():
            return FLOW
        case tree.Conditional():
            return CONDITIONAL
        case tree.Binary():
            return OPERATORS[node.op]
        case tree.Compare():
            return COMPARE
        case tree.Unary():
            return NOT if node.op == "not" else SIGN
        case _:
            return POSTFIX


def tight(node: Any, least: int) -> Any:
    """The expression, in parentheses where it binds looser than its place allows."""
    return node if binding(node) >= least else tree.Paren((node,), False, NOWHERE)


def name(text: str) -> tree.Name:
    return tree.Name(text, NOWHERE)


def constant(value: object) -> tree.Constant:
    return tree.Constant(value, NOWHERE)


def tuples(
    elements: st.SearchStrategy[Any], least: int = 0, most: int = 3
) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(elements, min_size=least, max_size=most).map(tuple)


names = st.sampled_from(NAMES).map(name)
numbers = st.sampled_from([(1, "1"), (1000, "1_000"), (0.5, "0.5"), (1e-4, "1e-4"), (2**63, str(2**63))]).map(
    lambda pair: tree.Number(*pair, NOWHERE)
)
plain_strings = st.sampled_from([((), ""), (("a-b.c",), "a-b.c"), (('"\n\\{}',), '\\"\\n\\\\\\{}')]).map(
    lambda pair: tree.String(pair[0], f'"{pair[1]}"', NOWHERE)
)
filled_strings = st.sampled_from(NAMES).map(lambda n: tree.String(("a.", name(n)), f'"a.{{{n}}}"', NOWHERE))
strings = plain_strings | filled_strings
constants = st.sampled_from([True, False, None, Ellipsis]).map(constant)
leaves = names | numbers | strings | constants


@st.composite
def operations(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    kind = draw(
        st.sampled_from(["unary", "binary", "compare", "conditional", "paren", "attribute", "subscript"])
    )
    a, b, c = draw(inner), draw(inner), draw(inner)
    if kind == "unary":
        op = draw(st.sampled_from(["-", "not"]))
        return tree.Unary(op, tight(a, NOT if op == "not" else SIGN), NOWHERE)
    if kind == "binary":
        op = draw(st.sampled_from(list(OPERATORS)))
        level = OPERATORS[op]
        left, right = (POSTFIX, SIGN) if op == "**" else (level, level + 1)
        return tree.Binary(op, tight(a, left), tight(b, right), NOWHERE, NOWHERE)
    if kind == "compare":
        rest = draw(tuples(st.tuples(st.sampled_from(COMPARISONS), inner.map(lambda e: tight(e, SUM))), 1))
        return tree.Compare(tight(a, SUM), rest, NOWHERE)
    if kind == "conditional":
        return tree.Conditional(tight(a, OR), tight(b, OR), tight(c, CONDITIONAL), NOWHERE)
    if kind == "paren":
        return tree.Paren(draw(tuples(chains(inner), 1)), draw(st.booleans()), NOWHERE)
    if kind == "attribute":
        return tree.Attribute(tight(a, POSTFIX), draw(st.sampled_from(NAMES)), NOWHERE, NOWHERE)
    bound = st.none() | inner.map(lambda e: tight(e, CONDITIONAL))
    slices = st.builds(tree.Slice, bound, bound, bound, st.just(NOWHERE))
    return tree.Subscript(tight(a, POSTFIX), draw(tuples(inner | slices, 1)), NOWHERE)


def labelled(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda label, value: tree.Labelled(label, tight(value, POSTFIX), NOWHERE), names | strings, inner
    )


def flows(inner: st.SearchStrategy[Any], heads: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    stages = inner.map(lambda e: tight(e, POSTFIX)) | labelled(inner)
    return st.builds(lambda head, rest: tree.Flow(head, rest, NOWHERE), heads, tuples(stages, 1))


def chains(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What may stand in parentheses, in a list or as an argument: a value, or a chain that begins with a label."""
    return inner | labelled(inner) | flows(inner, labelled(inner))


@st.composite
def collections(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    splices = inner.map(lambda e: tree.Splice(tight(e, SUM), NOWHERE))
    items = chains(inner) | splices
    items = items | st.builds(tree.ForItem, tuples(names, 1, 2), inner, tuples(items), st.just(NOWHERE))
    branches = tuples(st.tuples(inner, tuples(items)), 1, 2)
    items = items | st.builds(tree.IfItem, branches, st.none() | tuples(items), st.just(NOWHERE))
    if draw(st.booleans()):
        return tree.ListExpr(draw(tuples(items)), NOWHERE)
    keywords = st.builds(tree.Keyword, st.sampled_from(NAMES), inner, st.just(NOWHERE), st.just(NOWHERE))
    arguments = draw(tuples(chains(inner) | splices | keywords))
    return tree.Call(tight(draw(inner), POSTFIX), arguments, NOWHERE)


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    heads = inner.map(lambda e: tight(e, CONDITIONAL))
    return operations(inner) | collections(inner) | flows(inner, heads)


expressions = st.recursive(leaves, _larger, max_leaves=12)
small = st.recursive(leaves, _larger, max_leaves=3)
dims = st.recursive(names | numbers | st.just(constant(...)), operations, max_leaves=3).map(
    lambda e: tight(e, SUM)
)
shapes = st.builds(tree.Shape, tuples(dims), st.none() | names, st.just(NOWHERE))
parts = st.sampled_from(["*", "weight", "layer1", "0", "12"]).map(name)
steps = st.sampled_from(["weight", "layer1", "0", "12"]).map(name)
here = st.just(NOWHERE)

simple_statements = st.one_of(
    st.builds(tree.Input, names, st.none() | shapes, here, st.booleans()),
    st.builds(tree.Output, st.none(), st.none(), expressions, st.none() | names, here),
    st.builds(tree.Output, names, st.none() | shapes, expressions, st.none() | names, here),
    st.builds(tree.Bind, tuples(names, 1), st.none(), expressions, here),
    st.builds(tree.Bind, tuples(names, 1, 1), shapes, expressions, here),
    st.builds(tree.Param, names, shapes, small, here),
    st.builds(tree.Buffer, names, shapes, small, st.none() | names, here),
    st.builds(tree.Init, tuples(parts, 1), small, here),
    st.builds(tree.Tie, tuples(steps, 1), tuples(steps, 1), here),
    st.builds(tree.Assert, small, st.none() | strings, here),
    st.builds(tree.Expect, small, st.none(), here),
    st.builds(tree.Expect, names, shapes, here),
)


def _blocks(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    branches = tuples(st.tuples(small, tuples(inner)), 1, 2)
    return st.builds(tree.If, branches, st.none() | tuples(inner), here) | st.builds(
        tree.For, tuples(names, 1, 2), small, tuples(inner), here
    )


bodies = tuples(st.recursive(simple_statements, _blocks, max_leaves=4))
parameters = tuples(st.builds(tree.Parameter, names, st.none() | names, st.none() | small, here))
docs = st.sampled_from(["", "One line.", "Two\nlines, # marked."])
declared = st.builds(tree.Input, names, st.none() | shapes, here) | st.builds(
    lambda n, shape: tree.Output(n, shape, tree.ListExpr(shape.dims, NOWHERE), None, NOWHERE),
    st.none() | names,
    shapes,
)
declarations = st.one_of(
    st.builds(tree.Import, tuples(names, 1), plain_strings, docs, here),
    st.builds(tree.Const, names, expressions, docs, here),
    st.builds(tree.Fn, names, parameters, expressions, st.just(()), docs, here),
    st.builds(tree.Fn, names, parameters, st.none(), bodies, docs, here),
    st.builds(
        tree.GraphDecl, st.sampled_from(["model", "block"]), names, parameters, st.none(), bodies, docs, here
    ),
    st.builds(tree.GraphDecl, st.just("model"), names, parameters, expressions, st.just(()), docs, here),
    st.builds(tree.Train, names, tuples(st.builds(tree.Entry, names, small, here)), docs, here),
    st.builds(tree.Extern, names, parameters, plain_strings, tuples(declared), docs, here),
)
files = tuples(declarations).map(lambda found: tree.File(found, (), NOWHERE))

PIECES = [
    *"()[]{},:;=.*@\"'#\\\n\t\r\0",
    *(
        "->",
        "==",
        " # note\n",
        "\n## note\n",
        "\n\n\n",
        "\r\n",
        "é",
        "\ud800",
        "\u00a0",
        "9" * 30,
        "0x1F",
        "{x}",
    ),
    *(
        "if",
        "else",
        "for",
        "in",
        "not",
        "input",
        "output ",
        "model ",
        "def f(x):",
        "class A:",
        "lambda",
        "self.x",
    ),
]
# What may be added between two tokens of many places without a change of meaning.
SPACING = [
    "\n",
    " ",
    "\t",
    "  \n\n",
    " # note\n",
    "\n# note\n",
    "\n\n    # a longer note of its own, on a line\n",
]


@st.composite
def mutated(draw: st.DrawFn, texts: list[str], pieces: list[str] = PIECES) -> str:
    """One of the texts with some stretches replaced."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 5, 40])))
        text = text[:start] + draw(st.sampled_from([*pieces, ""])) + text[end:]
    return text


@st.composite
def respaced(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts with blanks, newlines and comments put behind commas, operators and brackets."""
    text = draw(st.sampled_from(texts))
    places = [i + 1 for i, c in enumerate(text) if c in ",([{+\n" or text[i - 1 : i + 1] == "->"]
    for place in sorted(draw(st.lists(st.sampled_from(places), max_size=6)), reverse=True):
        text = text[:place] + draw(st.sampled_from(SPACING)) + text[place:]
    return text
