"""Tree to text: the same tree comes back, no comment is lost, and formatting twice is formatting once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings

from netdsl.diagnostics import Report
from netdsl.source import Source
from netdsl.syntax import format_source, print_file, tree
from tests.programs_syntax import PROGRAMS, clean, read, value_of
from tests.strategies_syntax import NOWHERE, files, name, respaced, same_trees


@pytest.mark.parametrize("program", PROGRAMS, ids=["lenet", "blocks", "files", "everything"])
def test_the_programs_of_the_reference_are_fixed_points(program: str) -> None:
    assert format_source(Source(program), Report()) == program


def test_a_text_that_does_not_parse_is_not_formatted() -> None:
    report = Report()
    assert format_source(Source("model"), report) is None
    assert report.has_errors


@settings(max_examples=50)
@given(files)
def test_what_is_printed_parses_to_the_same_tree(file: tree.File) -> None:
    text = print_file(file)
    again = clean(text)
    assert same_trees(again.declarations, file.declarations)
    assert print_file(again) == text


@settings(max_examples=60)
@given(respaced(PROGRAMS))
@example("const A = x[ # note\n1]")
@example("## doc\nimport A, # note\n B from 'c'".replace("'", '"'))
@example("model A {\n  y = x -> f(a, # one\n  # two\n  b # three\n  # four\n )\n -> g # five\n # six\n\n\n}")
def test_formatting_keeps_tree_and_comments_and_twice_is_once(text: str) -> None:
    file, problems = read(text)
    if problems:
        return
    formatted = print_file(file)
    again = clean(formatted)
    assert same_trees(again.declarations, file.declarations)
    assert sorted(c.text for c in again.comments) == sorted(c.text for c in file.comments)
    assert print_file(again) == formatted
    assert max(map(len, formatted.splitlines()), default=0) <= 112 or "#" in formatted


@pytest.mark.parametrize(
    ("inner", "outer", "text"),
    [
        ("b - c", lambda e: tree.Binary("-", name("a"), e, NOWHERE, NOWHERE), "a - (b - c)"),
        ("b + c", lambda e: tree.Binary("*", e, name("a"), NOWHERE, NOWHERE), "(b + c) * a"),
        ("-b", lambda e: tree.Binary("**", e, name("a"), NOWHERE, NOWHERE), "(-b) ** a"),
        ("b < c", lambda e: tree.Compare(name("a"), (("<", e),), NOWHERE), "a < (b < c)"),
        ("b or c", lambda e: tree.Unary("not", e, NOWHERE), "not (b or c)"),
        ("b + c", lambda e: tree.Call(e, (), NOWHERE), "(b + c)()"),
        ("b + c", lambda e: tree.Flow(name("a"), (e,), NOWHERE), "a -> (b + c)"),
        ("b -> c", lambda e: tree.Flow(e, (name("a"),), NOWHERE), "(b -> c) -> a"),
        ("b if c else d", lambda e: tree.Splice(e, NOWHERE), "[*(b if c else d)]"),
    ],
)
def test_a_tree_that_was_made_gets_the_parentheses_it_needs(
    inner: str, outer: Callable[[tree.Expr], tree.Expr], text: str
) -> None:
    node = outer(value_of(inner))
    value = tree.ListExpr((node,), NOWHERE) if isinstance(node, tree.Splice) else node
    const = tree.Const(name("A"), value, "", NOWHERE)
    assert print_file(tree.File((const,), (), NOWHERE)) == f"const A = {text}\n"


def test_long_lines_are_broken_where_they_read_best() -> None:
    name = "a_rather_long_name_of_a_thing"
    arguments = ", ".join(f"{name}_{i}" for i in range(5))
    stages = " -> ".join(["x"] + ["Conv2d(64, 3, padding = 1, bias = False)"] * 3)
    sums = " + ".join([name] * 5)
    text = f"block B {{\ny = f({arguments})\nz = {stages}\nw = {sums}\n}}"
    formatted = format_source(Source(text), Report())
    assert formatted is not None
    lines = formatted.splitlines()
    assert max(map(len, lines)) <= 110
    rows = [f"    {name}_0, {name}_1, {name}_2,", f"    {name}_3, {name}_4,"]
    assert lines[1:5] == ["  y = f(", *rows, "  )"]
    assert lines[6].index("->") == lines[5].index("->")
    assert lines[7].endswith(" +")


def test_at_most_one_blank_line_is_kept() -> None:
    text = "const A = 1\n\n\n\nconst B = 2\nblock C {\n\n\n  x = 1\n\n\n  # note\n\n\n  y = 2\n\n}"
    expected = "const A = 1\n\nconst B = 2\nblock C {\n  x = 1\n\n  # note\n\n  y = 2\n}\n"
    assert format_source(Source(text), Report()) == expected
