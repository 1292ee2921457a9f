"""A model file cannot run code: whatever it says in names, labels, strings, parameters and documentation stays text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

import netdsl
from netdsl.compiler import check
from netdsl.source import Source

PAYLOADS = [
    "__import__('os').system('touch {canary}')",
    "');__import__('os').system('touch {canary}')#",
    '"""\\n__import__("os").system("touch {canary}")\\n"""',
    "\\n    import os; os.system('touch {canary}')",
    "x\\\\\\ny = __import__('os').system('touch {canary}')",
    "{{__import__('os').system('touch {canary}')}}",
    "\u2028import os\u2028os.system('touch {canary}')",
    "\x1b]0;owned\x07",
    "%s%n{{0.__class__}}",
]
CONTEXTS = {
    "doc": "## {text}\nmodel M {{\n  input x: [N, 3]\n  output x -> Linear(2)\n}}",
    "label": 'model M {{\n  input x: [N, 3]\n  output x -> "{text}": Linear(2)\n}}',
    "string argument": 'model M {{\n  input x: [N, 3, 8, 8]\n  output x -> Conv2d(2, 3, padding_mode = "{text}")\n}}',
    "parameter": 'model M(mode: str = "{text}") {{\n  input x: [N, 3]\n  output x -> "{{mode}}": Linear(2)\n}}',
    "assert": 'model M {{\n  input x: [N, 3]\n  assert False, "{text}"\n  output x\n}}',
    "pattern": 'model M {{\n  input x: [N, 3]\n  output x -> rearrange("{text}")\n}}',
    "equation": 'model M {{\n  input x: [N, 3]\n  output einsum("{text}", x)\n}}',
    "import": 'import A from "{text}"\nmodel M {{\n  input x: [N, 3]\n  output x -> A\n}}',
    "extern": 'extern E from "{text}" {{\n  input x: [N, C]\n  output [N, C]\n}}\nmodel M {{\n  input x: [N, 3]\n  output x -> E\n}}',
    "recipe": 'model M {{\n  input x: [N, 1, 8, 8]\n  output x -> Flatten -> Linear(10)\n}}\ntrain M {{\n  data = MNIST(root = "{text}")\n}}',
    "name": "model M {{\n  input {text}: [N, 3]\n  output {text}\n}}",
    "comment": "# {text}\nmodel M {{\n  input x: [N, 3]\n  output x -> Linear(2) # {text}\n}}",
}
# The names that generated code may call; anything else is a way out.
FORBIDDEN = {
    "__import__",
    "eval",
    "exec",
    "compile",
    "open",
    "globals",
    "locals",
    "vars",
    "breakpoint",
    "input",
}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_of_a_file_is_never_run(
    context: str, payload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "canary"
    text = CONTEXTS[context].format(text=payload.format(canary=canary))
    checked = check(Source(text))
    if not checked.report.has_errors:
        source = netdsl.loads(text).M.source()
        calls = {
            n.func.id
            for n in ast.walk(ast.parse(source))
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert calls & FORBIDDEN == set()
        model = netdsl.loads(text).M()
        shape = [2 if not isinstance(d, int) else d for d in checked.graphs["M"].inputs[0].type.shape]
        model(torch.zeros(shape))
    assert not canary.exists()


WORDS = [
    "class",
    "def",
    "lambda",
    "self",
    "super",
    "torch",
    "nn",
    "F",
    "Tensor",
    "forward",
    "train",
    "type",
    "None_",
    "__class__",
]


@pytest.mark.parametrize("word", WORDS)
def test_names_that_mean_something_to_python_are_only_names(word: str) -> None:
    text = f"""
        model M(width = 4) {{
          input {word}: [N, 3]
          {word} = {word} -> {word}: Linear(width) -> "{word}_2": Linear(3)
          output {word} = {word} -> ReLU
        }}
    """
    model = netdsl.loads(text).M()
    assert set(model.state_dict()) == {f"{word}.weight", f"{word}.bias", f"{word}_2.weight", f"{word}_2.bias"}
    assert model(torch.zeros(2, 3)).shape == (2, 3)
    if not hasattr(nn.Module, word):  # TorchScript has no place for a layer called like a method
        torch.jit.script(model)


def test_an_extern_layer_is_not_imported_unless_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside.py").write_text(
        "import pathlib\npathlib.Path('canary').touch()\nfrom torch import nn\nclass Same(nn.Identity):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = """
        extern Same from "outside:Same" { input x: [N, C]
          output [N, C] }
        model M { input x: [N, 3]
          output x -> same: Same }
    """
    assert not check(Source(text)).report.has_errors
    with pytest.raises(netdsl.NetError, match="allow-extern"):
        netdsl.loads(text).M()
    assert not (tmp_path / "canary").exists()
    assert netdsl.loads(text, allow_extern=True).M()(torch.zeros(2, 3)).shape == (2, 3)
    assert (tmp_path / "canary").exists()
