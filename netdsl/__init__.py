"""netdsl: a small language for neural networks, with its compiler and trainer.

>>> import netdsl
>>> nets = netdsl.loads("model Line { input x: [N, 1]\\n output x -> Linear(1) }")
>>> [name for name, state in nets.Line.graph().state()]
['linear_1.weight', 'linear_1.bias']
"""

from netdsl.compiler import NetError
from netdsl.nets import Model, Nets, check, load, load_weights, loads

__all__ = ["Model", "NetError", "Nets", "check", "load", "load_weights", "loads"]
__version__ = "0.1.0"
