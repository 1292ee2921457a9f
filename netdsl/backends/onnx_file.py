"""An ONNX model on disk: written whole or not at all, its tensors inside or, where they are too many, in a
file beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from netdsl.backends.errors import BackendError
from netdsl.backends.onnx_target import Stored, derive
from netdsl.backends.onnx_types import as_array, element_type

ONE_FILE: Final = 2**31 - 2**24  # bytes of tensors that one protobuf file can hold beside the rest
_ALIGNMENT = 4096  # where external tensors start, so that they can be mapped into memory


class Inline:
    """The tensors of a model, to be stored in the model itself."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = state

    def initializer(self, name: str, stored: Stored) -> TensorProto:
        """The tensor `stored` under `name`.

        Raises `BackendError` where the state has none, or one of another shape.
        """
        array = self.array(stored)
        return helper.make_tensor(
            name, element_type(stored.state.dtype), array.shape, array.tobytes(), raw=True
        )

    def array(self, stored: Stored) -> np.ndarray:
        if stored.key not in self._state:
            raise BackendError(f"the state has no tensor `{stored.key}`")
        array = as_array(self._state[stored.key], stored.state.dtype)
        if array.shape != stored.state.shape:
            found, expected = list(array.shape), list(stored.state.shape)
            raise BackendError(f"`{stored.key}` is {found} in the state, but {expected} in the model")
        return np.ascontiguousarray(derive(array, stored)) if array.ndim else array


class External(Inline):
    """The tensors of a model, to be stored in the file `location` beside it."""

    def __init__(self, state: Mapping[str, Any], location: str) -> None:
        super().__init__(state)
        self.location = location
        self._written: list[tuple[Stored, int]] = []
        self._end = 0

    def initializer(self, name: str, stored: Stored) -> TensorProto:
        array = self.array(stored)
        start = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        self._written.append((stored, start))
        self._end = start + array.nbytes
        proto = TensorProto(name=name, data_type=element_type(stored.state.dtype), dims=array.shape)
        proto.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", self.location),
            ("offset", str(start)),
            ("length", str(array.nbytes)),
        ):
            proto.external_data.add(key=key, value=value)
        return proto

    def write(self, file: BinaryIO) -> None:
        """The bytes of all tensors that were asked for, one in memory at a time."""
        for stored, start in self._written:
            file.seek(start)
            file.write(self.array(stored).tobytes())


def write(
    model: ModelProto,
    path: Path,
    external: External | None = None,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Write and check `model` in a folder beside `path`, then move it there. `check` may object to it too."""
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        made = Path(folder) / path.name
        if external is not None:
            with (made.parent / external.location).open("wb") as file:
                external.write(file)
        made.write_bytes(model.SerializeToString(deterministic=True))
        onnx.checker.check_model(str(made), full_check=True)
        if check is not None:
            check(made)
        if external is not None:
            (made.parent / external.location).replace(path.parent / external.location)
        made.replace(path)
    return path
