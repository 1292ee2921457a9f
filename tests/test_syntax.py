"""Text to tree: what the language allows, where lines end, how much there may be, and the tables behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netdsl.syntax import print_file, tree
from netdsl.syntax.tables import tables
from netdsl.syntax.tokens import scan
from tests.programs_syntax import EVERYTHING, PROGRAMS, clean, codes, read, statements, value_of
from tests.strategies_syntax import same_trees

ROOT = Path(__file__).resolve().parent.parent


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
