"""A compiled model in a loop of one's own: it is an ordinary `nn.Module`, whatever it was compiled from.

python examples/own_loop.py
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import netdsl

NET = """
## Digits of 8 x 8 pixels.
model Digits(width: int = 16) {
  input x: [N, 1, 8, 8]
  output x -> conv1: Conv2d(width, 3, padding = 1) -> ReLU -> MaxPool2d(2)
           -> conv2: Conv2d(2 * width, 3, padding = 1) -> ReLU -> MaxPool2d(2)
           -> Flatten -> fc: Linear(10)
}
"""


def main(epochs: int = 15) -> float:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]

    model: nn.Module = netdsl.loads(NET).Digits(width=16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for batch in torch.randperm(len(x_train)).split(64):
            loss = F.cross_entropy(model(x_train[batch]), y_train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1:2}  loss {loss.item():.3f}")
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
    print(f"test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
