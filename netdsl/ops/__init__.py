"""What can be in a graph: one class an operation. Importing this package registers all of them."""

from netdsl.ops import activation as activation
from netdsl.ops import activation_functions as activation_functions
from netdsl.ops import adaptive as adaptive
from netdsl.ops import arithmetic as arithmetic
from netdsl.ops import attention as attention
from netdsl.ops import batchnorm as batchnorm
from netdsl.ops import cells as cells
from netdsl.ops import comparison as comparison
from netdsl.ops import conv as conv
from netdsl.ops import create as create
from netdsl.ops import dropout as dropout
from netdsl.ops import dropout_functions as dropout_functions
from netdsl.ops import einops as einops
from netdsl.ops import einsum as einsum
from netdsl.ops import elementwise as elementwise
from netdsl.ops import embedding as embedding
from netdsl.ops import extern as extern
from netdsl.ops import fold as fold
from netdsl.ops import fractional as fractional
from netdsl.ops import index as index
from netdsl.ops import initialisers as initialisers
from netdsl.ops import interpolate as interpolate
from netdsl.ops import linear as linear
from netdsl.ops import merge as merge
from netdsl.ops import norm as norm
from netdsl.ops import normalize as normalize
from netdsl.ops import padding as padding
from netdsl.ops import pool as pool
from netdsl.ops import pool_functions as pool_functions
from netdsl.ops import prelu as prelu
from netdsl.ops import recurrent as recurrent
from netdsl.ops import reduce as reduce
from netdsl.ops import reorder as reorder
from netdsl.ops import reshape as reshape
from netdsl.ops import scaled_attention as scaled_attention
from netdsl.ops import select as select
from netdsl.ops import softmax as softmax
from netdsl.ops import transformer as transformer
from netdsl.ops import triangle as triangle
from netdsl.ops import unpool as unpool
from netdsl.ops import upsample as upsample
from netdsl.ops import weights as weights
from netdsl.ops import window_functions as window_functions
from netdsl.ops.base import Op, ShapeProblem, operands_of, registry

__all__ = ["Op", "ShapeProblem", "operands_of", "registry"]
