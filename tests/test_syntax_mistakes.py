"""What is said of a text that cannot be read: every slip once, at its place, in words, and mended where it can be."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings

from netdsl.syntax import print_file, tree
from tests.programs_syntax import PROGRAMS, clean, codes, first_problem, read
from tests.strategies_syntax import mutated, same_trees


def test_independent_mistakes_are_reported_in_one_run() -> None:
    text = """
model A(x y) {
  input x: [N 4]
  y = x -> Linear(8
  z = = 3
  if z = 3 {
    w = "abc
  }
  return y
}
modle B { output x }
const C = 0x1
"""
    assert codes(text) == ["E0101", "E0101", "E0102", "E0101", "E0101", "E0103", "E0101", "E0101", "E0109"]


def test_what_stands_around_a_mistake_is_kept() -> None:
    file, problems = read("model A {\n input x\n y = = 1\n z = 2\n}\nblock ) {\n output 1\n}\nconst C = 1")
    assert len(problems) == 2
    model, const = file.declarations
    assert isinstance(model, tree.GraphDecl)
    assert [statement.span.text for statement in model.body] == ["input x", "z = 2"]
    assert isinstance(const, tree.Const)


def test_half_a_statement_is_not_kept() -> None:
    file, _ = read("block B {\n y = x => ReLU\n z = 1 2\n if a { } w\n}")
    (block,) = file.declarations
    assert isinstance(block, tree.GraphDecl)
    assert [statement.span.text for statement in block.body] == ["if a { }"]


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("block B {\n  y = f(1\n  z = 2\n}", "E0102", "("),
        ("block B {\n  y = [1, (2]\n}", "E0102", "("),
        ("block B {\n  y = f(1", "E0102", "("),
        ("block B {\n  y = 1\n", "E0102", "{"),
        ("block B {\n  y = 1\nblock C { }", "E0102", "{"),
        ("block B(a {\n  y = = 1\n}", "E0102", "("),
        ('const A = "abc', "E0103", '"'),
        ("const A = 'abc'", "E0104", "'abc'"),
        ("const A = 1 ? 2", "E0104", "?"),
        ("const A = é", "E0104", "é"),
        ("const A = 1\0", "E0104", "\0"),
        ("const A = \ud800", "E0104", "\ud800"),
        (r'const A = "\q"', "E0105", r"\q"),
        ('const A = "{}"', "E0105", "{}"),
        ('const A = "{b"', "E0105", "{"),
        ('import A from "{b}"', "E0105", "b"),
        ('const A = "{1 +}"', "E0101", ""),
        (f"const A = {'9' * 20}", "E0108", "9" * 20),
        ("const A = 1e999", "E0108", "1e999"),
        ("const A = 12abc", "E0109", "12abc"),
        ("const A = 007", "E0109", "007"),
        ("const A = 1_", "E0109", "1_"),
    ],
)
def test_each_kind_of_mistake_has_its_code_and_place(text: str, code: str, place: str) -> None:
    problem = read(text)[1][0]
    assert problem.code == code
    assert problem.span is not None
    assert problem.span.text == place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import torch", "Python"),
        ("from torch import nn", "Python"),
        ("class A(nn.Module):\n  pass", "model Name"),
        ("def f(x):\n  return x", "fn name"),
        ("block B {\n  self.fc = nn.Linear(3)\n}", "x -> fc: Linear(10)"),
        ("block B {\n  return x\n}", "output value"),
        ("block B {\n  if a:\n    x = 1\n}", "braces"),
        ("block B {\n  if a { x = 1 }\n  else { x = 2 }\n}", "} else {"),
        ("block B {\n  if a { x = 1 } elif b { x = 2 }\n}", "else if"),
        ("block B {\n  x += 1\n}", "x = x + ..."),
        ("block B {\n  x == 1\n}", "bound with `=`"),
        ("block B {\n  if x = 1 { }\n}", "`==`"),
        ("block B {\n  y = x -> ReLU + 1\n}", "parentheses"),
        ("block B {\n  y = [f(i) for i in x]\n}", "[for i in range(4) { item }]"),
        ("block B {\n  y = lambda x: 1\n}", "fn name"),
        ("block B {\n  y = {1: 2}\n}", "dictionaries"),
        ("block B {\n  y = a && b\n}", "`and`"),
        ("block B {\n  y = 1; z = 2\n}", "ends with its line"),
        ("block B {\n  y = .5\n}", "starts with a digit"),
        ("block B {\n  input x, y\n}", "its own `input`"),
        ("block B {\n  y: int = 3\n}", "shape"),
        ("block B {\n  param p: [3]\n}", "initialiser"),
        ("blok B { }", "did you mean `block`?"),
        ("block B {\n  ouput x\n}", "did you mean `output`?"),
        ("x = 1", "const x"),
        ("// note\nblock B { }", "`#`"),
        ("block B\n{\n}", "on the line"),
    ],
)
def test_habits_from_elsewhere_are_recognised(text: str, words: str) -> None:
    problem = read(text)[1][0]
    assert words in "\n".join([problem.message, *problem.helps])


def test_what_was_expected_and_found_is_said_in_words() -> None:
    assert first_problem("block B { y = f(1 2) }") == ("expected `)` or `,`, found the number `2`", "2")
    assert first_problem("block B { y = 1 2 }") == ("expected the end of the line, found the number `2`", "2")
    assert first_problem("block B { y = }") == ("expected a value, found `}`", "}")
    assert first_problem("const A 1") == ("expected `=`, found the number `1`", "1")
    assert first_problem("fn f = 1") == ("expected `(`, found `=`", "=")


def test_a_brace_left_open_is_found_by_the_indentation() -> None:
    text = "block B {\n  if a {\n    x = 1\n  output x\n}\nblock C { }"
    (problem,) = read(text)[1]
    assert problem.code == "E0102"
    assert [label.span.start for label in problem.labels] == [
        text.index("{"),
        text.index("{", 10),
        text.index("}"),
    ]


SPOILT = [
    "const A = 'b'",
    "const A = b && c",
    "const A = .5",
    "const A = 5. + 1",
    "const A = +1",
    "modle B { }",
    "fn f(x) = {\n  output x\n}",
    "block B\n{\n  input x\n}",
    "block B {\n  return x\n}",
    "block B {\n  ouput x\n}",
    "block B {\n  y == 1\n}",
    "block B {\n  if y = 1 { }\n}",
    "block B {\n  if y: { }\n}",
    "block B {\n  if y { }\n  else { }\n}",
    "block B {\n  if y { } elif z { }\n}",
    "block B {\n  y = x => ReLU\n}",
    "block B {\n  y = x |> relu\n}",
    "block B {\n  input x [N]\n}",
]


@pytest.mark.parametrize("text", SPOILT)
def test_every_offered_fix_mends_its_mistake(text: str) -> None:
    (problem,) = read(text)[1]
    (fix,) = problem.fixes
    assert codes(text[: fix.span.start] + fix.text + text[fix.span.end :]) == []


@settings(max_examples=150)
@given(mutated(PROGRAMS))
@example("model\0{\ud800")
@example('const A = "{"{"')
@example("}" * 50 + "{" * 50)
def test_no_text_is_too_broken_to_be_read(text: str) -> None:
    file, problems = read(text)
    for problem in problems:
        assert problem.code.startswith("E01")
        for label in problem.labels:
            assert 0 <= label.span.start <= label.span.end <= len(text)
    if not problems:
        assert same_trees(clean(print_file(file)).declarations, file.declarations)
