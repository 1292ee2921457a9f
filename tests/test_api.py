"""A model file from Python, as section 12 of the language says."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import netdsl

SPECS = Path(__file__).parent.parent / "specs"
LINE = "model Line(width: int = 2) { input x: [N, 3]\n output x -> fc: Linear(width) }\n"


def test_a_model_is_an_ordinary_module() -> None:
    model = netdsl.load(SPECS / "lenet.net").LeNet(classes=7)
    assert isinstance(model, nn.Module)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 7)


def test_the_source_is_what_runs() -> None:
    import inspect

    nets = netdsl.loads(LINE)
    model = nets.Line(width=5)
    assert inspect.getsource(type(model)) in nets.Line.source(width=5)


def test_a_file_with_errors_is_refused_with_its_diagnostics() -> None:
    with pytest.raises(netdsl.NetError) as caught:
        netdsl.loads("model M { input x: [N, 3]\n output x -> Liner(2) }")
    assert "did you mean `Linear`" in str(caught.value)
    assert [d.code for d in caught.value.report] == ["E0201"]


def test_an_argument_that_does_not_fit_is_refused_where_it_is_given() -> None:
    nets = netdsl.loads(LINE)
    with pytest.raises(netdsl.NetError, match="takes an integer"):
        nets.Line(width="wide")
    with pytest.raises(netdsl.NetError, match="no argument `widht`"):
        nets.Line(widht=3)
    assert nets.Line(width=3)(torch.zeros(1, 3)).shape == (
        1,
        3,
    )  # an error of one call is not one of the next


def test_a_missing_argument_is_named() -> None:
    nets = netdsl.loads("model M(classes: int) { input x: [N, 3]\n output x -> Linear(classes) }")
    with pytest.raises(netdsl.NetError, match="needs `classes`"):
        nets.M()
    assert nets.M(classes=4)(torch.zeros(1, 3)).shape == (1, 4)


def test_free_dimensions_can_be_fixed() -> None:
    text = "model M { input x: [N, 3, H, W]\n output x -> Conv2d(4, 3) }"
    graph = netdsl.loads(text).M.graph(sizes={"H": 8})
    assert str(graph.types[1]) == "[N, 4, 6, W - 2]"
    with pytest.raises(netdsl.NetError, match="no free dimension `Q`"):
        netdsl.loads(text).M.graph(sizes={"Q": 8})


def test_an_unknown_model_lists_those_there_are() -> None:
    with pytest.raises(AttributeError, match="Line"):
        _ = netdsl.loads(LINE).Lin


def test_check_gives_diagnostics_as_data() -> None:
    report = netdsl.check(SPECS / "lenet.net")
    assert list(report) == []
    missing = netdsl.check("nowhere.net")
    assert [d.code for d in missing] == ["E0213"]


def test_weights_of_a_compiled_model_load_strictly_into_another() -> None:
    nets = netdsl.loads(LINE)
    one, two = nets.Line(), nets.Line()
    two.load_state_dict(one.state_dict(), strict=True)
    x = torch.randn(4, 3)
    assert torch.equal(one(x), two(x))


def test_a_compiled_model_survives_pickling_in_its_process() -> None:
    model = netdsl.loads(LINE).Line()
    again = pickle.loads(pickle.dumps(model))
    x = torch.randn(4, 3)
    assert torch.equal(model(x), again(x))


def test_an_import_cannot_leave_the_project(tmp_path: Path) -> None:
    (tmp_path / "outside.net").write_text("block B { input x\n output x }\n")
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "main.net").write_text(
        'import B from "../outside.net"\nmodel M { input x: [N]\n output x -> B }\n'
    )
    assert [d.code for d in netdsl.check(project / "main.net")] == ["E0212"]
    (project / "link.net").symlink_to(tmp_path / "outside.net")
    (project / "main.net").write_text('import B from "link.net"\nmodel M { input x: [N]\n output x -> B }\n')
    assert [d.code for d in netdsl.check(project / "main.net")] == ["E0212"]
