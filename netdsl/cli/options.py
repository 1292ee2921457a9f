"""Options that several commands have, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Files: TypeAlias = Annotated[list[str], typer.Argument(metavar="FILE...", help="`.net` files; `-` reads stdin.")]
Target: TypeAlias = Annotated[
    str, typer.Argument(metavar="FILE[:MODEL]", help="A `.net` file, with the model's name where it has several.")
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="The result on stdout and the diagnostics on stderr, both as JSON.")
]
Params: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the model, as `classes=100`. Repeatable."),
]
Extern: TypeAlias = Annotated[
    bool, typer.Option("--allow-extern", help="Let the file import layers written in Python.")
]
Out: TypeAlias = Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT", help="Where to write.")]
Weights: TypeAlias = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Weights, as safetensors or a torch `state_dict`.")
]
