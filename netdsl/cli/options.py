"""Options that several commands have, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from netdsl.cli.completion import targets

Files: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="FILE", help="`.net` files; `-` reads stdin.", autocompletion=targets)
]
Target: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FILE[:MODEL]",
        help="A `.net` file, with the model's name where it has several; `std/` is the library.",
        autocompletion=targets,
    ),
]
RunOrFile: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="RUN|FILE[:MODEL]",
        help="The folder of a run, or a `.net` file; then `--weights` says what it has learned.",
        autocompletion=targets,
    ),
]
RunFolder: TypeAlias = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="The result on stdout and the diagnostics on stderr, both as JSON.")
]
Params: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="NAME=VALUE", help="A parameter of the model, as `classes=100`. Repeatable."
    ),
]
Sizes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=SIZE", help="Fix a free dimension, as `N=64`. Repeatable."),
]
Extern: TypeAlias = Annotated[
    bool, typer.Option("--allow-extern", help="Let the file import layers written in Python.")
]
Out: TypeAlias = Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT", help="Where to write.")]
WEIGHTS = (
    "A state_dict, as .safetensors or saved by torch, or `torchvision:DEFAULT`: what torchvision publishes."
)
Weights: TypeAlias = Annotated[str, typer.Option("--weights", metavar="WEIGHTS", help=WEIGHTS)]
MaybeWeights: TypeAlias = Annotated[str | None, typer.Option("--weights", metavar="WEIGHTS", help=WEIGHTS)]

Data: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="SOURCE", help='Instead of the recipe\'s, as `Digits` or `MNIST(root = "data")`.'
    ),
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change the recipe, as `batch=128` or `optimizer.lr=0.1`. Repeatable.",
    ),
]
Device: TypeAlias = Annotated[
    str | None, typer.Option("--device", help="As `cpu` or `cuda:1`; by default, the best.")
]
Download: TypeAlias = Annotated[bool, typer.Option("--download", help="Fetch data that is not there.")]
