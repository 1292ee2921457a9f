"""netdsl: a small language for neural networks, with its compiler and trainer.

>>> import netdsl
>>> nets = netdsl.loads("model Line { input x: [N, 1]\\n output x -> Linear(1) }")
>>> [name for name, state in nets.Line.graph().state()]
['linear_1.weight', 'linear_1.bias']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from netdsl.compiler import NetError
from netdsl.nets import Model, Nets, check, load, load_weights, loads

if TYPE_CHECKING:
    from netdsl import train
    from netdsl.train.python import fit

__all__ = ["Model", "NetError", "Nets", "check", "fit", "load", "load_weights", "loads", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The trainer, which brings torch, is imported when it is used."""
    if name == "train":
        return import_module("netdsl.train")
    if name == "fit":
        return import_module("netdsl.train.python").fit
    raise AttributeError(f"module 'netdsl' has no attribute {name!r}")
