"""The walk-through of the README: check, read, draw, summarise, compile, export and train LeNet, in one script.

    python examples/walkthrough.py [FOLDER]

writes the diagram, the Python source, the ONNX model and a short training run on scikit-learn's digits to FOLDER.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import netdsl

SPEC = Path(__file__).parent.parent / "specs" / "lenet.net"

BROKEN = """
model Broken {
  input x: [N, 1, 28, 28]
  y = x -> conv1: Conv2d(10, 5) -> MaxPool2d(2)
  output y + (y -> Conv2d(20, 3, padding = 1))
}
"""


def main(folder: Path) -> None:
    print("== a message ==")
    try:
        netdsl.loads(BROKEN)
    except netdsl.NetError as problem:
        print(problem)

    print("== shapes, without torch ==")
    nets = netdsl.load(SPEC)
    graph = nets.LeNet.graph(classes=10)
    for name, state in graph.state():
        print(f"{name:14} {list(state.shape)}")

    print("== the Python that runs ==")
    source = nets.LeNet.source()
    (folder / "lenet.py").write_text(source, encoding="utf-8")
    print(source)

    print("== the diagram ==")
    from netdsl.backends.dot import render

    render(graph, folder / "lenet.svg")
    print(folder / "lenet.svg")

    print("== an export, run beside the original ==")
    from netdsl.backends.onnx import export

    model = nets.LeNet(classes=10)
    result = export(graph, model, folder / "lenet.onnx")
    print(f"{result.path}: largest difference {result.largest_difference:.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="netdsl-")))
