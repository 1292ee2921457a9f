"""Text to tree and back: what the language allows, what it says of the rest, and that formatting changes no meaning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings

from netdsl.diagnostics import Diagnostic, Report
from netdsl.source import Source
from netdsl.syntax import format_source, parse, print_file, tree
from netdsl.syntax.tables import tables
from netdsl.syntax.tokens import scan
from tests.strategies_syntax import files, mutated, respaced, same_trees

ROOT = Path(__file__).resolve().parent.parent

# The programs of the language reference as they stand there: fixed points of the formatter.
LENET = """\
## The convolutional network of LeCun et al. (1998), in its modern small form.
model LeNet(classes: int = 10) {
  input x: [N, 1, 28, 28]

  features = x -> conv1: Conv2d(10, 5) -> MaxPool2d(2) -> ReLU
               -> conv2: Conv2d(20, 5) -> MaxPool2d(2) -> ReLU

  output features -> Flatten -> fc: Linear(classes)
}

train LeNet {
  data      = MNIST(root = "data")
  transform = Normalize(0.1307, 0.3081)
  batch     = 64
  epochs    = 10
  loss      = CrossEntropyLoss
  optimizer = SGD(lr = 0.01, momentum = 0.5)
  metrics   = [accuracy]
}
"""
BLOCKS = """\
block InceptionA {
  input x: [N, C, H, W]
  output x -> fork(
      branch1x1: Conv2d(16, 1),
      branch5x5_1: Conv2d(16, 1) -> branch5x5_2: Conv2d(24, 5, padding = 2),
      branch3x3_1: Conv2d(16, 1) -> branch3x3_2: Conv2d(24, 3, padding = 1)
                                 -> branch3x3_3: Conv2d(24, 3, padding = 1),
      AvgPool2d(3, stride = 1, padding = 1) -> branch_pool: Conv2d(24, 1),
    ) -> concat(dim = 1)
}

block ResidualBlock {
  input x: [N, C, H, W]
  output relu(x + (x -> conv1: Conv2d(C, 3, padding = 1) -> ReLU -> conv2: Conv2d(C, 3, padding = 1)))
}

block BasicBlock(planes: int, stride: int = 1) {
  input x: [N, C, H, W]
  y = x -> conv1: Conv2d(planes, 3, stride = stride, padding = 1, bias = False) -> bn1: BatchNorm2d -> ReLU
        -> conv2: Conv2d(planes, 3, padding = 1, bias = False) -> bn2: BatchNorm2d
  if stride != 1 or C != planes {
    x = x -> downsample: [Conv2d(planes, 1, stride = stride, bias = False), BatchNorm2d]
  }
  output relu(x + y)
}
"""
FILES = """\
import InceptionA, ResidualBlock from "blocks.net"     # relative to this file
import Bottleneck from "std/resnet.net"                # the library that comes with netdsl
const WIDTHS = [64, 128, 256, 512]
fn make_divisible(v, divisor = 8) {
  new = max(divisor, int(v + divisor / 2) // divisor * divisor)
  output new + divisor if new < 0.9 * v else new
}
"""
EVERYTHING = """\
extern Slow(size: int = 3) from "package.module:Class" {
  input x: [N, C]
  output y: int64[N, size]
}

fn half(v) = v // 2
model Deep(classes = 1000) = Everything(Bottleneck, [3, 4, 6, 3], classes = classes)

block Everything(planes: int, act: layer = ReLU, input = None) {
  input x: [N, C, H, W]
  input ids: int64[N, T]
  input mask
  a, b = x -> chunk(2, dim = 1)
  y: [N, D, h, w] = a @ b ** -2 % 3
  param p: [1, S, D] = normal(std = 0.02)
  buffer q: int64[S] = arange(S) when unsaved
  init Conv2d.weight = kaiming_normal(mode = "fan_out", nonlinearity = "relu")
  init *.bias = zeros
  init layers.0.1.conv.weight = zeros
  if 0 < planes <= 3 and not C in [1, 2] or C not in [3] {
    x = -x
  } else if C == 3 {
    x = x -> act
  } else {
    x = x
  }
  for i, v in enumerate([1, 2]) {
    x = x -> "layers.{i + 1}": Block(v, output = 3, *WIDTHS) -> self: Linear(3) -> output: Linear(2)
  }
  z = [for v in cfg { if v == "M" { MaxPool2d(2) } else { Conv2d(v, 3, padding = 1), ReLU } }, *WIDTHS]
  assert C > 3, "{C} is \\{too small}"
  expect parameters <= 5e6
  expect macs(H = 224, W = 224) <= 1_000_000_000
  expect y: [N, 1000, ..., _]
  block = BasicBlock
  u = x[:, None] + x[..., ::2] + x[1:2, i] + x.shape[0]
  w = (a, b) -> concat(dim = 1) -> (Conv2d(64, 3) if wide else Conv2d(32, 3))
  output aux: [N, classes] = y when training
  output x
}
"""
PROGRAMS = [LENET, BLOCKS, FILES, EVERYTHING]


def read(text: str) -> tuple[tree.File, list[Diagnostic]]:
    report = Report()
    return parse(Source(text, "x.net"), report), list(report)


def clean(text: str) -> tree.File:
    file, problems = read(text)
    assert problems == []
    return file


def statements(body: str) -> tuple[tree.Statement, ...]:
    """The statements of a body that parses."""
    (block,) = clean(f"block B {{\n{body}\n}}").declarations
    assert isinstance(block, tree.GraphDecl)
    return block.body


def value_of(text: str) -> tree.Expr:
    (bind,) = statements(f"v = {text}")
    assert isinstance(bind, tree.Bind)
    return bind.value


def codes(text: str) -> list[str]:
    return [problem.code for problem in read(text)[1]]


def first_problem(text: str) -> tuple[str, str]:
    """The message of the first problem and the text it points at."""
    problem = read(text)[1][0]
    assert problem.span is not None
    return problem.message, problem.span.text


# ----------------------------------------------------------------------------------------------------- the tree


def test_an_arrow_binds_loosest_and_a_flow_is_flat() -> None:
    flow = value_of("a + b -> A -> one: B(2) -> [C, D]")
    assert isinstance(flow, tree.Flow)
    assert isinstance(flow.head, tree.Binary)
    assert [type(stage) for stage in flow.stages] == [tree.Name, tree.Labelled, tree.ListExpr]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a + b * c", "a + (b * c)"),
        ("-a ** b", "-(a ** b)"),
        ("a ** b ** c", "a ** (b ** c)"),
        ("a - b - c", "(a - b) - c"),
        ("not a in b and c or d", "((not (a in b)) and c) or d"),
        ("a if b else c if d else e", "a if b else (c if d else e)"),
        ("a @ b % c", "(a @ b) % c"),
    ],
)
def test_operators_bind_as_in_python(text: str, same: str) -> None:
    def bare(node: tree.Expr) -> object:
        match node:
            case tree.Paren():
                return bare(node.items[0])
            case tree.Binary():
                return (node.op, bare(node.left), bare(node.right))
            case tree.Unary():
                return (node.op, bare(node.operand))
            case tree.Compare():
                return (bare(node.first), [(op, bare(operand)) for op, operand in node.rest])
            case tree.Conditional():
                return (bare(node.then), bare(node.condition), bare(node.other))
            case _:
                return print_name(node)

    def print_name(node: tree.Expr) -> str:
        assert isinstance(node, tree.Name)
        return node.id

    assert bare(value_of(text)) == bare(value_of(same))


def test_comparisons_are_kept_as_one_chain() -> None:
    chain = value_of("0 < a <= b not in c")
    assert isinstance(chain, tree.Compare)
    assert [op for op, _ in chain.rest] == ["<", "<=", "not in"]


@pytest.mark.parametrize(
    "word", ["block", "input", "model", "output", "param", "init", "train", "expect", "when", "from", "const"]
)
def test_a_contextual_keyword_is_a_name_where_no_statement_starts(word: str) -> None:
    clean(f"block B({word}, other: int = {word}) {{ output f({word} = {word}, {word}) -> {word}: {word} }}")
    (bind, second, loop) = statements(f"{word} = x -> {word}\n{word}, y = z\nfor {word} in y {{ }}")
    assert isinstance(bind, tree.Bind)
    assert isinstance(second, tree.Bind)
    assert isinstance(loop, tree.For)
    assert [target.id for target in (*bind.targets, *second.targets)] == [word, word, "y"]


@pytest.mark.parametrize("word", ["if", "else", "for", "in", "and", "or", "not", "True", "False", "None"])
def test_a_reserved_word_is_no_name(word: str) -> None:
    assert codes(f"block B {{ {word} = 3 }}")
    assert codes(f"block B({word}) {{ }}")


def test_every_part_knows_its_place() -> None:
    text = 'block B {\n  y = x -> "a{i + 1}": Conv2d(64, padding = (1, 2))[:, 0]\n}'
    (block,) = clean(text).declarations
    assert isinstance(block, tree.GraphDecl)
    (bind,) = block.body
    assert isinstance(bind, tree.Bind)
    assert isinstance(bind.value, tree.Flow)
    (stage,) = bind.value.stages
    assert isinstance(stage, tree.Labelled)
    assert isinstance(stage.label, tree.String)
    assert isinstance(stage.value, tree.Subscript)
    assert isinstance(stage.value.value, tree.Call)
    inner = stage.label.parts[1]
    assert isinstance(inner, tree.Binary)
    keyword = stage.value.value.arguments[1]
    assert isinstance(keyword, tree.Keyword)
    spans = [
        block,
        block.name,
        bind,
        bind.value,
        stage,
        stage.label,
        inner,
        stage.value,
        keyword,
        keyword.value,
    ]
    assert [node.span.text for node in spans] == [
        text,
        "B",
        'y = x -> "a{i + 1}": Conv2d(64, padding = (1, 2))[:, 0]',
        'x -> "a{i + 1}": Conv2d(64, padding = (1, 2))[:, 0]',
        '"a{i + 1}": Conv2d(64, padding = (1, 2))[:, 0]',
        '"a{i + 1}"',
        "i + 1",
        "Conv2d(64, padding = (1, 2))[:, 0]",
        "padding = (1, 2)",
        "(1, 2)",
    ]
    assert keyword.name_span.text == "padding"
    assert inner.op_span.text == "+"


def test_a_string_alternates_text_and_values() -> None:
    string = value_of(r'"a\n\t\"\\\{b}{c}{d + "e\{f"}"')
    assert isinstance(string, tree.String)
    first, c, sum_ = string.parts
    assert first == 'a\n\t"\\{b}'
    assert isinstance(c, tree.Name)
    assert isinstance(sum_, tree.Binary)
    assert sum_.span.text == r'd + "e\{f"'


def test_digits_in_a_pattern_are_parts_of_it() -> None:
    (init,) = statements("init layers.0.1.conv.*.weight = zeros")
    assert isinstance(init, tree.Init)
    assert [part.id for part in init.pattern] == ["layers", "0", "1", "conv", "*", "weight"]
    assert [part.span.text for part in init.pattern] == ["layers", "0", "1", "conv", "*", "weight"]


def test_doc_comments_belong_to_the_declaration_right_below() -> None:
    file = clean(
        "## far\n\n# note\n## one\n##  two\nmodel A { }\n## none\n\nblock B { }\n### row\nconst C = 1"
    )
    assert [declaration.doc for declaration in file.declarations] == ["one\n two", "", ""]
    assert [comment.text for comment in file.comments][-1] == "### row"


def test_every_comment_is_collected() -> None:
    file = clean("# a\nmodel A { # b\n  x = 1 # c\n\n  # d\n}\n# e # e")
    assert [(c.text, c.own_line) for c in file.comments] == [
        ("# a", True),
        ("# b", False),
        ("# c", False),
        ("# d", True),
        ("# e # e", True),
    ]


def test_an_output_of_an_extern_is_its_shape() -> None:
    file = clean('extern E from "p:C" {\n input x\n output y: int64[N]\n output [N, 1]\n}')
    (extern,) = file.declarations
    assert isinstance(extern, tree.Extern)
    _, named, unnamed = extern.body
    assert isinstance(named, tree.Output)
    assert isinstance(unnamed, tree.Output)
    assert named.shape is not None
    assert named.shape.span.text == "int64[N]"
    assert unnamed.name is None
    assert unnamed.shape is not None


# --------------------------------------------------------------------------------------------- where lines end


@pytest.mark.parametrize(
    "text",
    [
        "y = f(\n1,\n\n2 # two\n)",
        "y = [\n1, 2\n,]",
        "y = x[\n0\n]",
        "y = a +\n b",
        "y = a and\n b",
        "y = a not in\n b",
        "a,\n b = c",
        "y = x ->\n A",
        "y = x\n -> A\n\n # note\n -> B",
        "y = [for i in a {\n 1,\n 2\n} ,\n if b {\n 3 }\n else\n {\n 4 }\n]",
        "y = f(x\n-> A)",
    ],
)
def test_a_line_goes_on_in_brackets_after_an_operator_and_before_an_arrow(text: str) -> None:
    assert len(statements(text)) == 1


@pytest.mark.parametrize(
    "text", ["y = 1 z = 2", "y =\n 1", "y\n = 1", "y = a\n + b", "if a { }\nelse { }", "y = 1;"]
)
def test_a_statement_stands_on_its_line(text: str) -> None:
    assert codes(f"block B {{\n{text}\n}}")


def test_carriage_returns_and_tabs_are_blanks() -> None:
    for program in PROGRAMS:
        windows = program.replace("\n", "\r\n").replace("  ", "\t")
        assert same_trees(clean(windows).declarations, clean(program).declarations)


def test_empty_text_is_an_empty_file() -> None:
    for text in ("", "\n\n", "  # note", "\ufeff"[:0]):
        assert clean(text).declarations == ()


# ---------------------------------------------------------------------------------------------------- formatting


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
    assert lines[1:8] == ["  y = f(", *[f"    {name}_{i}," for i in range(5)], "  )"]
    assert lines[9].index("->") == lines[8].index("->")
    assert lines[10].endswith(" +")


def test_at_most_one_blank_line_is_kept() -> None:
    text = "const A = 1\n\n\n\nconst B = 2\nblock C {\n\n\n  x = 1\n\n\n  # note\n\n\n  y = 2\n\n}"
    expected = "const A = 1\n\nconst B = 2\nblock C {\n  x = 1\n\n  # note\n\n  y = 2\n}\n"
    assert format_source(Source(text), Report()) == expected


# ------------------------------------------------------------------------------------------------------ mistakes


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


# -------------------------------------------------------------------------------------------------------- limits


def test_a_file_of_more_than_a_mebibyte_is_refused() -> None:
    assert codes("#" * 2**20) == []
    assert codes("#" * (2**20 + 1)) == ["E0106"]
    assert codes("#" + "é" * 2**19) == ["E0106"]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 300 + "1" + ")" * 300,
        "[" * 300 + "]" * 300,
        "-" * 300 + "1",
        "not " * 300 + "a",
        "a" + "(1)" * 300,
        "a" + ".b" * 300,
        "a" + " ** a" * 300,
        "a" + " + a" * 300,
        "1 if a else " * 300 + "1",
        "[" + "for i in a { " * 300 + "1" + " }" * 300 + "]",
    ],
)
def test_nesting_beyond_256_is_refused(text: str) -> None:
    assert codes(f"const A = {text}\nconst B = = 1") == ["E0107", "E0101"]


def test_nesting_up_to_256_is_read_and_printed() -> None:
    for text in ("(" * 256 + "1" + ")" * 256, "[" * 256 + "]" * 256, "-" * 256 + "1", "a" + " + a" * 256):
        file = clean(f"const A = {text}")
        assert same_trees(clean(print_file(file)).declarations, file.declarations)
    body = "if a {\n" * 250 + "x = 1\n" + "}\n" * 250
    assert len(statements(body)) == 1
    assert "E0107" in codes("block B {\n" + "if a {\n" * 260 + "}\n" * 260 + "}")


@pytest.mark.parametrize(
    "sign", ["(", "[", "{", "-", "not ", 'a["{', "x -> ", "if a {\n", "} ", "= ", '"', "\n)"]
)
def test_thousands_of_anything_are_no_problem(sign: str) -> None:
    for text in (sign * 5_000, f"block B {{\n  y = {sign * 5_000}"):
        problems = read(text)[1]
        assert problems
        assert len(problems) <= 50


def test_a_flow_may_be_as_long_as_it_likes() -> None:
    file = clean("block B {\n  y = x" + " -> ReLU" * 30_000 + "\n}")
    (block,) = file.declarations
    assert isinstance(block, tree.GraphDecl)
    (bind,) = block.body
    assert isinstance(bind, tree.Bind)
    assert isinstance(bind.value, tree.Flow)
    assert len(bind.value.stages) == 30_000


# -------------------------------------------------------------------------------------------------------- tables


def test_the_grammar_has_no_conflict_that_the_tables_hide(tmp_path: Path) -> None:
    """Lark settles a conflict of shift and reduce by shifting, and says so in its log only."""
    script = (
        "import logging, sys\nfrom pathlib import Path\nfrom lark import Lark, logger\n"
        "logger.setLevel(logging.DEBUG)\n"
        "Lark(Path(sys.argv[1]).read_text(), parser='lalr', debug=True, start=['file', 'interpolation'])"
    )
    grammar = ROOT / "netdsl" / "syntax" / "net.lark"
    command = [sys.executable, "-c", script, str(grammar)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "onflict" not in done.stdout + done.stderr


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for the cached tables; what is in memory is forgotten before and after."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tables.cache_clear()
    yield tmp_path / "netdsl"
    tables.cache_clear()


def test_tables_are_kept_in_a_cache_and_made_anew_where_it_does_not_fit(cache: Path) -> None:
    tables()
    (cached,) = cache.iterdir()
    data = json.loads(cached.read_text())
    for broken in ("{ broken", json.dumps({**data, "grammar": "another"}), "[]", ""):
        cached.write_text(broken)
        tables.cache_clear()
        clean(EVERYTHING)
        assert json.loads(cached.read_text())["grammar"] == data["grammar"]


def test_without_a_place_for_the_cache_parsing_works_all_the_same(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    clean(EVERYTHING)


def test_cached_tables_are_read_without_lark(cache: Path) -> None:
    tables()
    code = (
        "import sys\nfrom netdsl.source import Source\nfrom netdsl.diagnostics import Report\n"
        "from netdsl.syntax import parse\nparse(Source('const A = 1'), Report())\nprint('lark' in sys.modules)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache.parent), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


def test_every_rule_has_a_method_and_every_terminal_a_use() -> None:
    from netdsl.syntax.build import Builder

    actions = {rule.action for rule in tables().rules if rule.action}
    assert [action for action in actions if not hasattr(Builder, action)] == []
    kinds = {token.kind for program in PROGRAMS for token in scan(program)[0]}
    assert {"NAME", "NUMBER", "STRING", "ARROW", "ELLIPSIS", "_NL", "POWER"} <= kinds
