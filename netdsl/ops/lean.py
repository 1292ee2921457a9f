"""`LeanModel`: a pydantic model of which hundreds of classes can be made in the time that a command has to start."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict

_meanings: dict[tuple[str, str], Any] = {}  # of the texts of annotations, by module


class LeanModel(BaseModel):
    """Evaluates the annotations of each class once. Pydantic evaluates the texts of all base classes again for every
    subclass, which is half of what making a class costs; what it makes of them is the same. Validators are made when
    they are needed, for the first one costs more than a hundred classes.
    """

    model_config = ConfigDict(defer_build=True)

    def __init_subclass__(cls, **options: Any) -> None:
        names = vars(sys.modules[cls.__module__])
        annotations: dict[str, Any] = cls.__annotations__
        for name, text in annotations.items():
            if isinstance(text, str):
                annotations[name] = _meaning(cls.__module__, text, names)
        super().__init_subclass__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        # Pydantic has taken note of the class variables, and no subclass needs their annotations.
        annotations: dict[str, Any] = cls.__annotations__
        for name in cls.__class_vars__.intersection(annotations):
            del annotations[name]


def _meaning(module: str, text: str, names: dict[str, Any]) -> Any:
    """The value of an annotation; its text, for pydantic to try, where a name in it is not there yet."""
    key = (module, text)
    if key not in _meanings:
        with suppress(NameError):
            _meanings[key] = eval(text, names)
    return _meanings.get(key, text)
