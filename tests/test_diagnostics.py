"""The renderer alone, with made-up problems: what a person sees, and what a program reads."""

from __future__ import annotations

import json
import re
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdsl.diagnostics import Diagnostic, Fix, Label, Report, pages
from netdsl.diagnostics.render import render, render_all, to_json, to_sarif
from netdsl.diagnostics.snippet import view
from netdsl.diagnostics.suggest import did_you_mean, nearest
from netdsl.diagnostics.terminal import printable, width
from netdsl.source import Source, Span

LAYERS = ["Conv1d", "Conv2d", "Conv3d", "Linear", "MaxPool1d", "MaxPool2d", "BatchNorm2d", "ReLU"]
ARGUMENTS = ["out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode"]


def at(source: Source, words: str, text: str = "", *, nth: int = 1) -> Label:
    """A label under the `nth` place where `words` stand."""
    start = -1
    for _ in range(nth):
        start = source.text.index(words, start + 1)
    return Label(Span(source, start, start + len(words)), text)


def drawn(*labels: Label, notes: tuple[str, ...] = (), helps: tuple[str, ...] = ()) -> str:
    return render(Diagnostic("E0999", "a made-up problem", labels, notes, helps))


def body(text: str) -> str:
    """The rows of a snippet: without the two header lines and the empty row."""
    return "\n".join(text.split("\n")[3:])


def test_the_sample_of_the_language_reference_comes_out_as_printed_there() -> None:
    lines = [""] * 8 + ["  input x: [N, C, H, W]"] + [""] * 4 + ["  output relu(x + y)"]
    source = Source("\n".join(lines), "specs/resnet.net")
    labels = (
        at(source, "+"),
        at(source, "x", "`x` is [N, 64, 56, 56] here"),
        at(source, "x", "`x` is [N, 64, 56, 56]", nth=2),
        at(source, "y", "`y` is [N, 128, 28, 28]"),
    )
    note = "in BasicBlock(planes = 128, stride = 2), used at specs/resnet.net:31:9 as `layer2.0`"
    help_ = "project `x` first, for example `x -> Conv2d(128, 1, stride = 2)`"
    problem = Diagnostic("E0402", "shapes do not match in `+`", labels, (note,), (help_,))
    expected = """\
error[E0402]: shapes do not match in `+`
  --> specs/resnet.net:14:17
   |
 9 |   input x: [N, C, H, W]
   |         - `x` is [N, 64, 56, 56] here
14 |   output relu(x + y)
   |               - ^ - `y` is [N, 128, 28, 28]
   |               |
   |               `x` is [N, 64, 56, 56]
   = in BasicBlock(planes = 128, stride = 2), used at specs/resnet.net:31:9 as `layer2.0`
   = help: project `x` first, for example `x -> Conv2d(128, 1, stride = 2)`"""
    assert render(problem) == expected


def test_several_labels_of_one_line_hang_from_right_to_left() -> None:
    source = Source("pears + apples + plums\n", "fruit.net")
    labels = (at(source, "+", "no such sum"), at(source, "pears", "3 pears"), at(source, "plums", "5 plums"))
    expected = """\
error[E0999]: a made-up problem
 --> fruit.net:1:7
  |
1 | pears + apples + plums
  | ----- ^ ------   ----- 5 plums
  | |     | |
  | |     | 4 apples
  | |     no such sum
  | 3 pears"""
    assert drawn(*labels, at(source, "apples", "4 apples")) == expected


def test_a_mark_inside_a_mark_stays_visible() -> None:
    source = Source("output relu(x + y)\n")
    labels = (at(source, "relu(x + y)", "the call"), at(source, "x", "the left side"))
    expected = """\
1 | output relu(x + y)
  |        ^^^^^-^^^^^ the call
  |             |
  |             the left side"""
    assert body(drawn(*labels)) == expected


def test_the_primary_mark_wins_over_an_equal_one() -> None:
    source = Source("output x\n")
    expected = """\
1 | output x
  |        ^ here
  |        |
  |        and here"""
    assert body(drawn(at(source, "x", "here"), at(source, "x", "and here"))) == expected


def test_a_label_without_text_at_the_right_does_not_take_the_text_of_another() -> None:
    source = Source("a + b\n")
    expected = """\
1 | a + b
  | -   ^
  | |
  | this one"""
    assert body(drawn(at(source, "b"), at(source, "a", "this one"))) == expected


def test_lines_come_in_order_and_their_numbers_line_up() -> None:
    source = Source("\n".join(f"line{n}" for n in range(1, 121)), "x.net")
    labels = (at(source, "line100", "late"), at(source, "line9", "early"))
    expected = """\
error[E0999]: a made-up problem
   --> x.net:100:1
    |
  9 | line9
    | ----- early
100 | line100
    | ^^^^^^^ late"""
    assert drawn(*labels) == expected


def test_a_span_of_several_lines_has_a_rail_in_the_margin() -> None:
    source = Source("y = x -> fork(\n  a,\n) -> b\n")
    expected = """\
1 |   y = x -> fork(
  |  __________^
2 | |   a,
3 | | ) -> b
  | |_^ two branches"""
    assert body(drawn(at(source, "fork(\n  a,\n)", "two branches"))) == expected


def test_the_middle_of_a_long_span_is_left_out_and_spans_nest() -> None:
    inside = "".join(f"  layer{n},\n" for n in range(6))
    source = Source(f"model A {{\n{inside}}}\nend\n")
    outer = Label(Span(source, 0, source.text.index("\nend")), "the model")
    middle = source.text.index("layer0")
    inner = Label(Span(source, middle, source.text.index("layer5") + 6), "its layers")
    expected = """\
1 | /  model A {
2 | |/   layer0,
3 | ||   layer1,
... ||
7 | ||   layer5,
  | ||________^ its layers
8 | |  }
  | |__- the model"""
    assert body(drawn(inner, outer)) == expected


def test_a_span_that_takes_the_newline_with_it_ends_on_its_own_line() -> None:
    source = Source("abc  \n  \ndef\n")
    assert body(drawn(Label(Span(source, 0, 9), "here"))) == "1 | abc\n  | ^^^^^ here"


def test_an_empty_span_is_one_caret_also_at_the_end_of_the_file() -> None:
    source = Source("model A {\n", "a.net")
    assert body(drawn(Label(Span(source, 5, 5), "a name"))) == "1 | model A {\n  |      ^ a name"
    assert body(drawn(Label(Span(source, 9, 9), "a brace"))) == "1 | model A {\n  |          ^ a brace"
    end = drawn(Label(Span(source, 10, 10), "expected `}`"))
    assert end.split("\n")[1:] == [" --> a.net:2:1", "  |", "2 |", "  | ^ expected `}`"]
    assert body(drawn(Label(Span(Source(""), 0, 0), "nothing"))) == "1 |\n  | ^ nothing"
    assert "1 | x" in drawn(Label(Span(Source("x"), 40, 90), "beyond the end"))


def test_a_file_that_could_not_be_read_is_named_without_a_line() -> None:
    problem = Diagnostic("E0213", "there is no file a.net", (Label(Span(Source("", "a.net"), 0, 0)),))
    assert render(problem) == "error[E0213]: there is no file a.net\n --> a.net"


def test_tabs_and_wide_characters_are_aligned() -> None:
    tabs = Source("\tx =\ty\n")
    assert body(drawn(at(tabs, "y", "here"))) == "1 |     x =    y\n  |            ^ here"
    wide = Source('name = "網路" -> y\n')
    expected = """\
1 | name = "網路" -> y
  |         ^^^^     - w
  |         |
  |         a name"""
    assert body(drawn(at(wide, "網路", "a name"), at(wide, "y", "w"))) == expected
    accents = Source("e\u0301e\u0301 x\n")
    assert body(drawn(at(accents, "x"))).split("\n")[1] == "  |    ^"


def test_a_cause_in_another_file_has_its_own_header() -> None:
    here, there = Source('import A from "b.net"\n', "a.net"), Source("\n" * 11 + "block A {}\n", "b.net")
    expected = """\
error[E0999]: a made-up problem
  --> a.net:1:8
   |
 1 | import A from "b.net"
   |        ^ defined twice
   |
  ::: b.net:12:7
   |
12 | block A {}
   |       - first here
   = a note"""
    assert drawn(at(here, "A", "defined twice"), at(there, "A", "first here"), notes=("a note",)) == expected


def test_a_long_line_is_cut_around_its_marks() -> None:
    source = Source("a" * 500 + "bad" + "c" * 500)
    shown = render(Diagnostic("E0999", "x", (at(source, "bad", "here"),)), width=60).split("\n")
    assert shown[3] == "1 | …" + "a" * 23 + "bad" + "c" * 23 + "…"
    assert shown[4] == "  |  " + " " * 23 + "^^^ here"
    assert max(map(len, shown)) <= 60


def test_a_line_that_fits_is_not_cut() -> None:
    assert view("abc", (0, 1), 3).text == "abc"
    assert view("abcd", (0, 1), 3).text == "a…"
    assert view("網路", (0, 1), 4).text == "網路"


def test_a_problem_without_a_place_has_a_header_and_its_remarks() -> None:
    problem = Diagnostic("W0701", "nothing to see", (), ("one\ntwo",), ("look\naway",))
    expected = """\
warning[W0701]: nothing to see
  = one
    two
  = help: look
          away"""
    assert render(problem) == expected


def test_a_report_ends_with_its_numbers_and_is_ordered_by_place() -> None:
    source = Source("a b c d\n", "x.net")
    report = Report()
    report.error("E0002", "second", at(source, "b").span)
    report.error("W0701", "third", at(source, "c").span)
    report.error("E0001", "first", at(source, "a").span)
    report.error("E0003", "no place", None)
    text = render_all(report)
    assert re.findall(r"\[(\w+)\]", text) == ["E0003", "E0001", "E0002", "W0701"]
    assert text.endswith("\n  |     ^\n\n3 errors, 1 warning\n")
    assert render_all([]) == ""
    assert render_all([Diagnostic("W0701", "x")]).endswith("\n\n1 warning\n")


def test_colour_changes_nothing_but_the_colour() -> None:
    source = Source("model A {\n  x = y\n}\n", "a.net")
    labels = (at(source, "y", "here"), at(source, "{\n  x = y\n}", "in"))
    problem = Diagnostic("E0201", "gone", labels, ("n",), ("h",))
    painted = render(problem, colour=True)
    assert painted.startswith("\x1b[1;31merror[E0201]\x1b[0m")
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == render(problem)
    assert "\x1b[1;33m" in render(Diagnostic("W0701", "x"), colour=True)


def test_nothing_of_the_users_reaches_the_terminal_as_a_control() -> None:
    evil = "a\x1b[31m\x07\x9b2J\u202eb\x7f\r\x00\u2028"
    source = Source(f"{evil} x\n", f"{evil}.net")
    text = drawn(Label(Span(source, 0, len(evil)), evil), notes=(evil,), helps=(evil,))
    assert not [c for c in text if category(c) in {"Cc", "Cf", "Zl"} and c != "\n"]
    assert printable("\x1b[0m\u202e\x9b") == "␛[0m<U+202E><U+009B>"
    text.encode("utf-8")


TEXTS = st.text(st.sampled_from("ab \t\n\r網e\u0301\x1b\u202e{}\"'") | st.characters(), max_size=60)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70), TEXTS), min_size=1, max_size=5))
def test_any_text_and_any_labels_can_be_drawn(text: str, places: list[tuple[int, int, str]]) -> None:
    source = Source(text, "x.net")
    labels = tuple(Label(Span(source, min(a, b), max(a, b)), words) for a, b, words in places)
    problem = Diagnostic("E0999", text, labels, (text,), (text,))
    shown = render(problem, width=40)
    assert all(c == "\n" or category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in shown)
    assert re.sub(r"\x1b\[[\d;]*m", "", render(problem, colour=True, width=40)) == shown
    json.dumps([to_json([problem]), to_sarif([problem])])


@given(st.text(st.sampled_from("ab網\t e\u0301"), min_size=1, max_size=400), st.data())
def test_the_caret_stands_under_its_character(line: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(line) - 1))
    problem = Diagnostic("E0999", "x", (Label(Span(Source(line), place, place + 1)),))
    row, marks = body(render(problem, width=80)).split("\n")
    assert width(row) <= 80
    column, before = marks.index("^"), ""
    for character in row:
        if width(before) >= column and width(character):
            break
        before += character
    assert printable(line[place])[:1] in (*row[len(before) : len(before) + 1], " ", "\u0301")


def test_json_has_every_fact_and_positions_count_from_one() -> None:
    source = Source("a\nbb cc\n", "x.net")
    fix = Fix(at(source, "cc").span, "dd", "write `dd`")
    labels = (at(source, "cc", "here"), at(source, "a", "there"))
    problem = Diagnostic("E0201", "m", labels, ("n",), ("h",), (fix,))
    place = {"path": "x.net", "line": 2, "column": 4, "end_line": 2, "end_column": 6}
    other = {"path": "x.net", "line": 1, "column": 1, "end_line": 1, "end_column": 2, "label": "there"}
    (entry,) = to_json([problem])
    fixes = [{"title": "write `dd`", "text": "dd", "start": 5, "end": 7, **place}]
    rest = {"also": [other], "notes": ["n"], "helps": ["h"], "fixes": fixes}
    assert entry == {"code": "E0201", "severity": "error", "message": "m", **place, "label": "here", **rest}
    (bare,) = to_json([Diagnostic("W0701", "m")])
    assert (bare["severity"], bare["path"], bare["line"]) == ("warning", None, None)
    assert list(bare) == list(entry)


def test_sarif_has_rules_results_and_changes() -> None:
    source = Source("a b\n", "dir name/x.net")
    fix = Fix(at(source, "b").span, "c")
    labels = (at(source, "b", "here"), at(source, "a", "there"))
    problem = Diagnostic("E0201", "m", labels, (), ("h",), (fix,))
    log = to_sarif([problem, Diagnostic("W0701", "w")], {"E0201": "# E0201"}, "1.0")
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    driver = log["runs"][0]["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == ["E0201", "W0701"]
    assert driver["rules"][0]["help"]["markdown"] == "# E0201"
    plain, result = log["runs"][0]["results"]
    assert (plain["level"], plain["locations"], plain["ruleIndex"]) == ("warning", [], 1)
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "dir%20name/x.net"
    assert place["region"] == {"startLine": 1, "startColumn": 3, "endLine": 1, "endColumn": 4}
    assert result["message"]["text"] == "m\nhere\nhelp: h"
    assert result["relatedLocations"][0]["message"]["text"] == "there"
    assert result["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"] == {"text": "c"}


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("Convv2d", LAYERS, ["Conv2d"]),
        ("Covn2d", LAYERS, ["Conv2d"]),
        ("maxpool2d", LAYERS, ["MaxPool2d"]),
        ("MaxPoling2d", LAYERS, ["MaxPool2d", "MaxPool1d"]),
        ("batch_norm2d", LAYERS, ["BatchNorm2d"]),
        ("relu", LAYERS, ["ReLU"]),
        ("Conv", LAYERS, ["Conv1d", "Conv2d", "Conv3d"]),
        ("kernle_size", ARGUMENTS, ["kernel_size"]),
        ("kernel", ARGUMENTS, ["kernel_size"]),
        ("pad", ARGUMENTS, ["padding"]),
        ("Stride", ARGUMENTS, ["stride"]),
        ("cc1", ["c1", "c2", "x"], ["c1"]),
        ("x", ["y", "z", "c1"], []),
        ("ReUL", ["ReLU", "ReLU6", "SELU"], ["ReLU"]),
        ("layer", ["layer1", "layer2", "layer3", "layer4"], ["layer1", "layer2", "layer3"]),
        ("banana", LAYERS, []),
        ("", LAYERS, []),
        ("C" * 100_000, LAYERS, []),
    ],
)
def test_a_near_name_is_found(name: str, known: list[str], found: list[str]) -> None:
    assert nearest(name, known) == found


@given(st.sampled_from(LAYERS + ARGUMENTS), st.integers(0, 20), st.sampled_from("drop swap double case"))
def test_one_slip_of_the_fingers_is_always_understood(name: str, place: int, slip: str) -> None:
    i = place % (len(name) - 1)
    wrong = {
        "drop": name[:i] + name[i + 1 :],
        "swap": name[:i] + name[i + 1] + name[i] + name[i + 2 :],
        "double": name[:i] + name[i] + name[i:],
        "case": name.swapcase(),
    }.get(slip, name)
    assert wrong == name or name in nearest(wrong, LAYERS + ARGUMENTS)


def test_a_suggestion_is_a_question() -> None:
    assert did_you_mean("Convv2d", LAYERS) == ("did you mean `Conv2d`?",)
    assert did_you_mean("Conv", LAYERS) == ("did you mean `Conv1d`, `Conv2d` or `Conv3d`?",)
    assert did_you_mean("banana", LAYERS) == ()


def test_every_code_with_a_page_can_be_explained() -> None:
    for code in pages.codes():
        assert re.fullmatch(r"[EW]\d{4}", code)
        assert pages.page(code.lower()) == pages.page(code)
        assert (pages.page(code) or "").startswith(f"# {code}")
    assert pages.page("E9999") is None
    assert pages.page("../render") is None
