"""The commands as a shell sees them: what goes to which stream, and how they end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import netdsl
from netdsl.cli.app import COMMANDS, main
from netdsl.cli.completion import targets
from netdsl.cli.files import replacing, write

ROOT = Path(__file__).parent.parent

LINE = """\
## A line of two layers.
model Line(width: int = 4) {
  input x: [N, 8]
  output x -> fc: Linear(width) -> Linear(10)
}
"""
MESSY = LINE.replace("model Line", "model   Line")
TWO = LINE + "model Wide = Line(64)\n"
BROKEN = "model M {\n  input x: [N, 4]\n  output x -> fc: Linear(2, bais = False)\n}\n"
IMAGES = "model Images {\n  input x: [N, 1, 28, 28]\n  output x -> Flatten -> fc: Linear(10)\n}\n"
RECIPE = "train Images {\n  data = Digits\n  loss = CrossEntropyLoss\n  optimizer = SGD(lr = 0.1)\n}\n"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        return json.loads(self.out)

    @property
    def codes(self) -> list[str]:
        return [diagnostic["code"] for diagnostic in json.loads(self.err)]


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a folder of its own, with files by name."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **files: str) -> Ended:
        for name, text in files.items():
            Path(f"{name}.net").write_text(text, encoding="utf-8")
        status = main(arguments)
        shown = capsys.readouterr()
        return Ended(status, shown.out, shown.err)

    return run


def shell(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netdsl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, **options)


# ---------------------------------------------------------------------------------------------- check


def test_a_clean_file_is_told_in_a_line_a_model(run: Run) -> None:
    ended = run("check", "two.net", two=TWO)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == (
        "two.net: Line [N, 8] -> [N, 10], 86 parameters\ntwo.net: Wide [N, 8] -> [N, 10], 1,226 parameters\n"
    )


def test_problems_go_to_stderr_and_end_with_one(run: Run) -> None:
    ended = run("check", "broken.net", broken=BROKEN)
    assert (ended.status, ended.out) == (1, "")
    assert " --> broken.net:3:29\n" in ended.err
    assert "did you mean `bias`?" in ended.err
    assert ended.err.endswith("\n1 error\n")


def test_every_file_is_checked_and_each_once(run: Run) -> None:
    ended = run("check", "broken.net", "line.net", "broken.net", "gone.net", broken=BROKEN, line=LINE)
    assert ended.status == 1
    assert ended.out.startswith("line.net: Line")
    assert ended.err.endswith("\n2 errors\n")
    assert len(run("check", "line.net", "line.net", "--json").result["files"]) == 1


def test_a_warning_alone_is_clean(run: Run) -> None:
    text = LINE.replace("  output", "  unused = x + 1\n  output")
    ended = run("check", "line.net", line=text)
    assert ended.status == 0
    assert ended.err.startswith("warning[W07")
    assert ended.err.endswith("\n1 warning\n")


def test_json_is_one_value_on_each_stream(run: Run) -> None:
    clean = run("check", "line.net", "--json", line=LINE)
    assert (clean.status, clean.codes) == (0, [])
    (model,) = clean.result["files"][0]["models"]
    assert model["name"] == "Line"
    assert model["inputs"] == [{"name": "x", "type": "[N, 8]"}]
    assert model["parameters"] == 86
    failed = run("check", "broken.net", "--json", broken=BROKEN)
    assert (failed.status, len(failed.codes), failed.result["errors"]) == (1, 1, 1)


def test_a_recipe_is_checked_with_its_model(run: Run) -> None:
    ended = run("check", "line.net", line=IMAGES + RECIPE.replace("optimizer", "optimiser"))
    assert ended.status == 1
    assert "did you mean `optimizer`?" in ended.err


def test_a_constraint_on_free_sizes_is_told(run: Run) -> None:
    text = "model Sum {\n  input x: [N, 4]\n  input y: [M, 4]\n  output x + y\n}\n"
    ended = run("check", "m.net", m=text)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.rstrip().endswith("where N == M")


def test_what_cannot_be_read_is_a_problem_of_the_input(run: Run) -> None:
    Path("folder.net").mkdir()
    Path("bytes.net").write_bytes(b"model \xff")
    for path, words in {
        "gone.net": "there is no file gone.net",
        "folder.net": "folder.net is a folder",
        "bytes.net": "bytes.net is not UTF-8 text (byte 6)",
        "nul\0.net": "cannot be read",
    }.items():
        ended = run("check", path)
        assert (ended.status, ended.out) == (1, "")
        assert words in ended.err


def test_stdin_is_a_file_called_minus() -> None:
    done = shell("check", "-", input=BROKEN)
    assert (done.returncode, done.stdout) == (1, "")
    assert " --> <stdin>:3:29\n" in done.stderr
    endless = shell("check", "-", "--max-source", "1000", input="#" * 5000)
    assert (endless.returncode, endless.stdout) == (1, "")
    assert "stdin is larger than 1,000 bytes" in endless.stderr


def test_a_sarif_log_is_written_beside_the_usual_text(run: Run) -> None:
    ended = run("check", "broken.net", "--sarif", "logs/out.sarif", broken=BROKEN)
    log = json.loads(Path("logs/out.sarif").read_text(encoding="utf-8"))
    assert ended.status == 1
    (result,) = log["runs"][0]["results"]
    assert result["ruleId"] in ended.err
    assert log["runs"][0]["tool"]["driver"]["rules"][0]["help"]["text"].startswith(f"# {result['ruleId']}")


def test_limits_can_be_raised_and_lowered_before_and_behind_the_command(run: Run) -> None:
    text = "model M {\n  input x: [N, 8]\n  for i in range(20) { x = x -> Linear(8) }\n  output x\n}\n"
    assert run("check", "m.net", m=text).status == 0
    for arguments in (["--max-nodes", "10", "check", "m.net"], ["check", "m.net", "--max-nodes=10"]):
        ended = run(*arguments)
        assert ended.status == 1
        assert "error[E0207]" in ended.err
    assert run("check", "m.net").status == 0


# ------------------------------------------------------------------------------------- ops, explain, fmt


def test_the_operations_are_listed_and_described(run: Run) -> None:
    listed = run("ops")
    assert listed.status == 0
    assert any(line.startswith("Conv2d ") for line in listed.out.splitlines())
    one = run("ops", "Conv2d")
    assert one.out.startswith("(x) -> Conv2d(out_channels, kernel_size, stride = 1, ")
    assert "Conv2d(8, 3, padding = 1) : [N, 3, H, W] -> [N, 8, H, W]" in one.out
    described = run("ops", "Linear", "--json").result
    assert described["arguments"][0] == {
        "name": "out_features",
        "required": True,
        "default": None,
        "positional": True,
        "inferred": False,
    }


def test_an_unknown_name_is_answered_with_a_near_one(run: Run) -> None:
    ended = run("ops", "conv2d")
    assert (ended.status, ended.out) == (1, "")
    assert "did you mean `Conv2d`?" in ended.err
    assert run("ops", "conv2d", "--json").codes == ["E0003"]
    assert "did you mean `E0213`" in run("explain", "E2013").err


def test_a_code_is_explained_in_any_case(run: Run) -> None:
    ended = run("explain", "e0213")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("# E0213: ")
    assert run("explain", "e0213", "--json").result["code"] == "E0213"
    assert "E0213  " in run("explain").out


def test_formatting_is_in_place_once_and_then_there_is_nothing_to_do(run: Run) -> None:
    assert run("fmt", "--check", "a.net", "b.net", a=MESSY, b=LINE) == Ended(1, "a.net\n", "")
    assert Path("a.net").read_text(encoding="utf-8") == MESSY
    assert run("fmt", "a.net", "b.net") == Ended(0, "a.net\n", "")
    assert Path("a.net").read_text(encoding="utf-8") == LINE
    assert run("fmt", "--check", "a.net", "b.net") == Ended(0, "", "")


def test_a_file_that_does_not_parse_is_not_touched(run: Run) -> None:
    broken = "model  M {\n  input x: [N, 4\n}\n"
    ended = run("fmt", "m.net", "line.net", m=broken, line=MESSY)
    assert ended.status == 1
    assert "error[E01" in ended.err
    assert Path("m.net").read_text(encoding="utf-8") == broken
    assert Path("line.net").read_text(encoding="utf-8") == LINE


def test_stdin_is_formatted_to_stdout() -> None:
    done = shell("fmt", "-", input=MESSY)
    assert (done.returncode, done.stdout, done.stderr) == (0, LINE, "")


# -------------------------------------------------------------------------------- one model of one file


def test_a_model_is_named_behind_a_colon_where_there_are_several(run: Run) -> None:
    assert "Wide(width = 64)" in run("summary", "two.net:Wide", two=TWO).out
    unnamed = run("summary", "two.net")
    assert unnamed.status == 1
    assert "name one: `two.net:Line`, `two.net:Wide`" in unnamed.err
    wrong = run("summary", "two.net:Wiide")
    assert "did you mean `Wide`?" in wrong.err
    assert run("summary", "two.net:Wiide", "--json").codes == ["E0001"]
    assert "has no model" in run("summary", "none.net", none="block B { input x\n output x }\n").err


def test_parameters_and_sizes_are_expressions_of_the_language(run: Run) -> None:
    text = "const SMALL = 3\n" + LINE
    for value, width in {"3": 3, "SMALL + 1": 4, "max(2, 5)": 5, "[7, 8][1]": 8}.items():
        table = run(
            "summary", "line.net", "--param", f"width={value}", "--set", "N=2", "--json", line=text
        ).result
        assert table["arguments"] == {"width": width}
        assert table["rows"][0]["outputs"][0]["shape"] == [2, width]


def test_a_bare_word_is_a_string_and_a_known_name_what_it_names(run: Run) -> None:
    text = 'model M(mode: str = "b", act: layer = ReLU) {\n  input x: [N, 4]\n'
    text += '  assert mode == "a", "{mode}"\n  output x -> Linear(2) -> act\n}\n'
    table = run("summary", "m.net", "--param", "mode=a", "--param", "act=Sigmoid", "--json", m=text).result
    assert [row["kind"] for row in table["rows"]] == ["Linear", "Sigmoid"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--param", "width"], "`--param width` is not `name=value`"),
        (["--param", "width=a"], "`width` takes an integer"),
        (["--param", "wdth=3"], "did you mean `width`?"),
        (["--param", "width=3 +"], "--> --param:1:"),
        (["--set", "N=x"], "no size"),
        (["--set", "N=0"], "no size"),
        (["--set", "M=3"], "no free dimension `M`"),
    ],
)
def test_a_value_that_does_not_fit_is_a_problem(run: Run, arguments: list[str], words: str) -> None:
    ended = run("summary", "line.net", *arguments, line=LINE)
    assert (ended.status, ended.out) == (1, "")
    assert words in ended.err


def test_a_diagram_is_written_as_its_suffix_says(run: Run) -> None:
    assert run("graph", "line.net", line=LINE).out.startswith('digraph "Line" {')
    pytest.importorskip("pygraphviz", reason="an SVG needs Graphviz, which pygraphviz carries")
    assert run("graph", "line.net", "-o", "new/line.svg") == Ended(0, "new/line.svg: Line\n", "")
    assert "<svg" in Path("new/line.svg").read_text(encoding="utf-8")
    refused = run("graph", "line.net", "-o", "line.bmp")
    assert refused.status == 1
    assert "not `line.bmp`" in refused.err
    assert sorted(p.name for p in Path().iterdir()) == ["line.net", "new"]


# ---------------------------------------------------------------------------------------------- the library


PAPERS = """\
## Net (Doe et al., 2001) and Wide Net (Roe and Poe, 2002), made up.

model Net(width: int, depth: int = 2) {
  input x: [N, 3, H, W]
  output x -> conv: Conv2d(width, 3, padding = 1)
}
model Net8 = Net(8)
model Wide_Net9 = Net(64)
## For images of 640×640.
model Large(classes: int = 3) {
  input x: [N, 3, H, W]
  assert classes > 0, "none"
  output x -> Net8 -> AdaptiveAvgPool2d(1) -> flatten(1) -> Linear(classes)
}
"""


def test_a_folder_is_listed_with_figures_and_papers(run: Run) -> None:
    ended = run("list", ".", nets=PAPERS, parts="block Part { input x\n output x }\n", line=LINE)
    assert (ended.status, ended.err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line.startswith("  ")}
    assert rows["Net"] == ["needs", "width", "Doe", "et", "al.,", "2001"]
    assert rows["Net8"] == ["224", "10.84", "M", "[N,", "3,", "H=224,", "W=224]", "Doe", "et", "al.,", "2001"]
    assert rows["Wide_Net9"][-4:] == ["Roe", "and", "Poe,", "2002"]
    assert rows["Large"][1:7] == ["88.47", "M", "[N,", "3,", "H=640,", "W=640]"]
    assert rows["Line"] == ["86", "72", "[N,", "8]"]
    assert "blocks: Part" in ended.out
    assert ended.out.endswith(
        "5 models in 3 files; multiply-adds of one example, with free sizes as shown: `H=224`\n"
    )
    one = run("list", "nets.net", "--json").result["files"]
    assert [model["name"] for model in one[0]["models"]] == ["Net", "Net8", "Wide_Net9", "Large"]
    assert one[0]["models"][0]["required"] == ["width"]
    assert one[0]["models"][1]["sizes"] == {"N": 1, "H": 224, "W": 224}


@pytest.mark.slow
def test_the_library_is_listed_in_a_hundred_columns_without_torch(run: Run) -> None:
    ended = run("list")
    assert (ended.status, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 100
    (row,) = [line for line in ended.out.splitlines() if line.startswith("  ResNet50 ")]
    assert row.split()[1:] == [
        "25,557,032",
        "4.089",
        "G",
        "[N,",
        "3,",
        "H=224,",
        "W=224]",
        "He",
        "et",
        "al.,",
        "2016",
    ]


def test_a_file_with_problems_does_not_keep_the_others_from_being_listed(run: Run) -> None:
    ended = run("list", ".", broken=BROKEN, line=LINE)
    assert ended.status == 1
    assert "did you mean `bias`?" in ended.err
    assert "  M     has problems" in ended.out
    assert "  Line " in ended.out
    gone = run("list", "gone.net")
    assert (gone.status, "there is no file gone.net" in gone.err) == (1, True)


def test_models_of_the_library_are_reached_from_any_folder(run: Run) -> None:
    assert "class BasicBlock" in run("compile", "std/resnet.net:ResNet18", "--to", "python").out
    assert (
        "class Inception" in run("compile", "std/inception.net", "--to", "python").out
    )  # which imports another
    for wrong, words in {
        "std/resnt.net:ResNet18": "did you mean `std/resnet.net`?",
        "resnet.net": "the library has `std/resnet.net`",
        "std/nothing_like_it.net": "`netdsl list` names the files of the library",
        "std/resnet.net:ResNet19": "did you mean `ResNet18`",
    }.items():
        ended = run("compile", wrong, "--to", "python")
        assert ended.status == 1
        assert words in ended.err
    for path, words in {
        "std/resnt.net": "`std/resnet.net`",
        "lin.net": "`line.net`",
        "alexnet.net": "the library has `std/alexnet.net`",
    }.items():
        text = f'import Bottleneck from "{path}"\n' + LINE
        assert words in run("check", "importer.net", importer=text, line=LINE).err
    with pytest.raises(AttributeError, match="did you mean `ResNet18`"):
        _ = netdsl.load("std/resnet.net").ResNet19
    with pytest.raises(netdsl.NetError, match=r"did you mean `std/resnet\.net`"):
        netdsl.load("std/resnt.net")


def test_a_folder_called_std_goes_before_the_library(run: Run, tmp_path: Path) -> None:
    (tmp_path / "std").mkdir()
    (tmp_path / "std" / "mine.net").write_text('import Part from "part.net"\n' + LINE + "model P = Part\n")
    (tmp_path / "std" / "part.net").write_text("model Part { input x: [N, 2]\n output x -> Linear(2) }\n")
    assert "6 parameters" in run("check", "std/mine.net").out
    assert run("summary", "std/lenet.net").status == 0  # what it has not, the library has


def test_a_shell_is_offered_files_of_the_library_and_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.net").write_text(TWO)
    assert targets("su") == ["sub/"]
    assert targets("sub/") == ["sub/a.net"]
    assert targets("sub/a.net:W") == ["sub/a.net:Wide"]
    assert targets("std/resn") == ["std/resnet.net"]
    assert targets("none.net:") == []


# ------------------------------------------------------------------------------------------------- summary


def test_a_summary_has_figures_where_formulas_would_be_long(run: Run) -> None:
    ended = run("summary", "nets.net:Large", nets=PAPERS)
    assert "\n  conv    Conv2d " in ended.out
    assert "figures for H = 640, W = 640" in ended.out
    assert "[N, 8, H, W]" in ended.out
    assert "88,473,600*N" in ended.out
    fixed = run("summary", "nets.net:Large", "--set", "H=10", "--set", "W=10")
    assert "figures for" not in fixed.out
    assert "21,600*N" in fixed.out


def test_a_deep_model_is_folded_to_what_is_read_at_a_glance(run: Run) -> None:
    folded = run("summary", "std/resnet.net:ResNet50")
    assert len(folded.out.splitlines()) < 50
    assert "`--depth` opens more" in folded.out
    whole = run("summary", "std/resnet.net:ResNet50", "--depth", "9").out
    assert len(whole.splitlines()) > 150
    assert "opens more" not in whole
    for shown in (whole, folded.out):  # a block has what is in it, open or closed
        (row,) = [line for line in shown.splitlines() if line.startswith("layer4 ")]
        assert row.split()[-4:] == ["14,964,736", "809,238,528*N", "8.3", "MB*N"]


# ------------------------------------------------------------------------------------------ ways to end


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["check"], ["check", "--bogus"], ["summary", "a.net", "--depth", "x"]]
)
def test_a_wrong_command_line_is_no_fault_of_netdsl(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert (ended.status, ended.out) == (1, "")
    assert "Usage: netdsl" in ended.err


def test_a_fault_of_netdsl_is_told_as_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("netdsl.compiler.check", fail)
    ended = run("check", "line.net", line=LINE)
    assert (ended.status, ended.out) == (2, "")
    assert "this is a fault in netdsl" in ended.err
    assert "Traceback" not in ended.err
    with pytest.raises(KeyError):
        run("check", "line.net", "--debug")


def test_a_missing_library_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr("netdsl.compiler.check", fail)
    ended = run("check", "line.net", line=LINE)
    assert ended.status == 1
    assert "this needs `onnx`" in ended.err
    assert run("check", "line.net", "--json").codes == ["E0004"]


def test_an_output_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("before", encoding="utf-8")
    target.chmod(0o600)

    def fail() -> None:
        with replacing(target) as made:
            made.write_text("half", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]
    assert target.read_text(encoding="utf-8") == "before"
    write(target, "after\r\n")
    assert target.read_bytes() == b"after\r\n"
    assert target.stat().st_mode & 0o777 == 0o600
    link = tmp_path / "link"
    link.symlink_to(target)
    write(link, "through")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "through"


def test_every_command_has_help(run: Run) -> None:
    for command in COMMANDS:
        ended = run(command, "--help")
        assert ended.status == 0
        assert f"Usage: netdsl {command}" in ended.out
    assert "2 a fault in netdsl" in run("--help").out
    assert run("--version").out.startswith("netdsl ")


# ------------------------------------------------------------------------------------------ real processes


def test_colour_is_for_terminals_and_obeys_no_color(tmp_path: Path) -> None:
    path = tmp_path / "broken.net"
    path.write_text(BROKEN, encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    for environment, coloured in (
        (plain, True),
        (plain | {"NO_COLOR": "1"}, False),
        (plain | {"TERM": "dumb"}, False),
    ):
        main_end, other = pty.openpty()
        command = [sys.executable, "-m", "netdsl", "check", str(path)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=other, env=environment, check=False, cwd=ROOT
        )
        os.close(other)
        shown = os.read(main_end, 100_000).decode()
        os.close(main_end)
        assert (done.returncode, done.stdout) == (1, b"")
        assert ("\x1b[" in shown) is coloured
    assert "\x1b" not in shell("check", str(path)).stderr


def test_cheap_commands_load_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "line.net"
    path.write_text(MESSY + IMAGES + RECIPE, encoding="utf-8")
    heavy = {
        "torch",
        "torchvision",
        "onnx",
        "onnxruntime",
        "networkx",
        "numpy",
        "rich",
        "pygraphviz",
        "matplotlib",
        "PIL",
    }
    runs = [
        ["check", str(path)],
        ["fmt", "--check", str(path)],
        ["ops", "Conv2d"],
        ["explain", "E0213"],
        ["summary", f"{path}:Images"],
        ["list", str(path)],
    ]
    code = (
        "import sys; from netdsl.cli.app import main\n"
        f"print([main(arguments) for arguments in {runs!r}], file=sys.stderr)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    statuses, loaded = done.stderr.splitlines()[-2:]
    assert statuses == "[0, 1, 0, 0, 0, 0]"
    assert heavy & set(loaded.split()) == set()


def test_a_reader_that_leaves_early_is_no_fault() -> None:
    command = f"{sys.executable} -m netdsl ops | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr


# --------------------------------------------------------------------------------- what needs torch


def test_python_source_goes_to_stdout_or_a_file(run: Run) -> None:
    ended = run("compile", "line.net", "--to", "python", line=LINE)
    assert ended.status == 0
    compile(ended.out, "line.py", "exec")
    assert "netdsl" not in ended.out.replace("compiled by netdsl", "")
    assert run("compile", "line.net", "--to", "python", "-o", "line.py").out == "line.py: Line\n"
    assert Path("line.py").read_text(encoding="utf-8") == ended.out


def test_a_graph_as_json_can_be_read_back(run: Run) -> None:
    from netdsl.compiler import check
    from netdsl.ir.schema import to_json
    from netdsl.source import Source

    ended = run("compile", "line.net", "--to", "json", line=LINE)
    assert json.loads(ended.out) == json.loads(to_json(check(Source(LINE)).graphs["Line"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "out"),
    [("module", "line"), ("torchscript", "line.pt"), ("pt2", "line.pt2"), ("onnx", "line.onnx")],
)
def test_an_export_is_compared_with_the_original(run: Run, to: str, out: str) -> None:
    ended = run("compile", "line.net", "--to", to, "-o", f"new/{out}", "--json", line=LINE)
    assert (ended.status, ended.codes) == (0, [])
    assert ended.result["largest_difference"] < 1e-5
    assert ended.result["sizes"] == [{"N": 1}, {"N": 7}]
    assert [p.name for p in Path("new").iterdir()] == [out]
    assert "largest difference" in run("compile", "line.net", "--to", to, "-o", f"new/{out}").out


@pytest.mark.slow
def test_a_module_is_a_package_that_needs_no_netdsl(run: Run, tmp_path: Path) -> None:
    run("compile", "line.net", "--to", "module", "-o", "package", "--seed", "3", line=LINE)
    code = (
        "import sys, package; model = package.load()\n"
        "print(type(model).__name__, model.training, 'netdsl' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "Line False False\n"
    again = run(
        "compile", "line.net", "--to", "module", "-o", "other", "--weights", "package/weights.safetensors"
    )
    assert again.status == 0
    assert Path("other/weights.safetensors").read_bytes() == Path("package/weights.safetensors").read_bytes()


@pytest.mark.slow
def test_nothing_is_left_of_an_export_that_fails(run: Run) -> None:
    run("compile", "line.net", "--to", "module", "-o", "line", line=LINE)
    ended = run(
        "compile",
        "line.net",
        "--to",
        "onnx",
        "-o",
        "x.onnx",
        "--weights",
        "line/weights.safetensors",
        "--param",
        "width=5",
    )
    assert (ended.status, ended.out) == (1, "")
    assert "3 keys are of another shape" in ended.err
    assert "`--param width=4`" in ended.err
    assert sorted(p.name for p in Path().iterdir()) == ["line", "line.net"]
    assert run("compile", "line.net", "--to", "module", "-o", "not-a-name").status == 1
    assert (
        run("compile", "line.net", "--to", "onnx", "-o", "x.onnx", "--weights", "gone.safetensors").status
        == 1
    )


def test_what_makes_no_sense_to_compile_is_refused(run: Run) -> None:
    assert "say where: `--out OUT`" in run("compile", "line.net", "--to", "onnx", line=LINE).err
    assert "has no weights" in run("compile", "line.net", "--to", "python", "--weights", "w").err
    assert "Usage: netdsl compile" in run("compile", "line.net", "--to", "caffe").err


def test_code_from_outside_runs_only_where_it_is_allowed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("danger.py").write_text("raise SystemExit('it ran')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    text = 'extern Danger from "danger:Danger" {\n  input x: [N, 1, 28, 28]\n  output [N, 10]\n}\n'
    text += IMAGES.replace("Flatten -> fc: Linear(10)", "Danger") + RECIPE
    weights = ["--weights", "w.safetensors"]
    for arguments in (
        ["check", "images.net"],
        ["summary", "images.net"],
        ["compile", "images.net", "--to", "onnx", "-o", "x.onnx"],
        ["compile", "images.net", "--to", "module", "-o", "x"],
        ["train", "images.net"],
        ["eval", "images.net", *weights],
        ["predict", "images.net", *weights, "x.png"],
    ):
        ended = run(*arguments, images=text)
        assert ended.status in (0, 1)
        assert "it ran" not in ended.out + ended.err


@pytest.mark.slow
def test_a_model_is_trained_measured_and_used(run: Run) -> None:
    images = IMAGES + RECIPE
    trained = run(
        "train", "images.net", "--epochs", "2", "--set", "optimizer.lr=0.5", "--json", images=images
    )
    assert (trained.status, trained.codes) == (0, [])
    result = trained.result
    assert (result["folder"], result["reason"], len(result["epochs"])) == ("runs/Images-1", "finished", 2)
    rates = [epoch["lr"] for epoch in result["epochs"]]
    assert rates == [0.5, 0.5]
    longer = run("train", "images.net", "--epochs", "3", "--set", "optimizer.lr=0.5", "--resume")
    assert longer.status == 0
    assert longer.out.endswith("weights: runs/Images-1/best.safetensors\n")
    weights = ["--weights", result["weights"]]
    measured = run("eval", "images.net", *weights, "--set", "metrics=[accuracy]", "--json").result
    assert measured["accuracy"] > 0.5
    from netdsl.train.data.digits import write_images

    paths = [str(path) for path in write_images("digits", 3)]
    (first, *_) = predicted = run("predict", "images.net", *weights, *paths, "--json").result
    assert [entry["path"] for entry in predicted] == paths
    assert abs(sum(first["probabilities"].values()) - 1) < 1e-4
    wrong = run("predict", "images.net", *weights, "images.net")
    assert (wrong.status, wrong.out) == (1, "")
    assert "is not an image" in wrong.err


def test_a_recipe_that_is_not_there_or_does_not_fit_ends_before_torch_is_needed(run: Run) -> None:
    assert "has no `train Line` block" in run("train", "line.net", line=LINE).err
    assert run("train", "images.net", "--set", "epochs=x", images=IMAGES + RECIPE).status == 1
    assert "set it as a whole: `batch=...`" in run("train", "images.net", "--set", "batch.lr=3").err
    assert "--> --data:1:6" in run("train", "images.net", "--data", "Digitz").err
    assert "did you mean `Digits`?" in run("train", "images.net", "--data", "Digitz").err
