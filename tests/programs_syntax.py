"""Programs for the tests of the syntax, and ways to read a text in one line."""

from __future__ import annotations

from netdsl.diagnostics import Diagnostic, Report
from netdsl.source import Source
from netdsl.syntax import parse, tree

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
  input bias: [N, 1, T] = None
  a, b = x -> chunk(2, dim = 1)
  y: [N, D, h, w] = a @ b ** -2 % 3
  param p: [1, S, D] = normal(std = 0.02)
  buffer q: int64[S] = arange(S) when unsaved
  init Conv2d.weight = kaiming_normal(mode = "fan_out", nonlinearity = "relu")
  init *.bias = zeros
  init layers.0.1.conv.weight = zeros
  tie head.weight = "layers.{0}".0.weight
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
