"""Dtypes and shapes as ONNX writes them: our dtype names, ONNX's element types and numpy's dtypes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from netdsl.ir.types import DTYPES, Tensor

_ONNX_NAMES = {"float32": "float", "float64": "double"}
DTYPE_OF_ONNX: Final = {f"tensor({_ONNX_NAMES.get(dtype, dtype)})": dtype for dtype in DTYPES}


def element_type(dtype: str) -> int:
    """ONNX's number of a dtype.

    >>> element_type("float32") == TensorProto.FLOAT
    True
    """
    return int(getattr(TensorProto, _ONNX_NAMES.get(dtype, dtype).upper()))


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """numpy's dtype; bfloat16 is that of `ml_dtypes`, which onnx brings."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(element_type(dtype)))


def dtype_of_string(text: str) -> str:
    """The dtype that a schema writes as `tensor(float)`; another kind of type is a mistake of the
    lowering."""
    dtype = DTYPE_OF_ONNX.get(text)
    if dtype is None:
        raise TypeError(f"{text} is not a tensor of numbers")
    return dtype


def value_info(name: str, type: Tensor) -> ValueInfoProto:
    """A named value with its type; a free dimension becomes the dynamic dimension of that name."""
    shape = [dim if isinstance(dim, int) else str(dim) for dim in type.shape]
    return helper.make_tensor_value_info(name, element_type(type.dtype), shape)


def as_array(value: Any, dtype: str) -> np.ndarray:
    """A tensor of the state, numpy's or torch's, as a C-ordered little-endian array of `dtype`."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().contiguous()
        if str(value.dtype) == "torch.bfloat16":  # numpy has no such dtype: take the bits
            import torch

            return value.view(torch.int16).numpy().view(numpy_dtype("bfloat16"))
        value = value.numpy()
    return np.ascontiguousarray(value, dtype=numpy_dtype(dtype)).reshape(np.shape(value))
