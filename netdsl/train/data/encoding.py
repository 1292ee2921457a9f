"""From the text of a table to the numbers that a model gets. What is learned of the training part, means and
categories, is plain data (`Fitted`); scikit-learn makes columns of it, the same from fresh and from saved data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from netdsl.diagnostics.suggest import did_you_mean
from netdsl.train.data.features import Column, Feature, Missing, Numeric, OneHot, category_name
from netdsl.train.data.table_files import Table, known
from netdsl.train.errors import TrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import Series

    Numbers = NDArray[Any]

Fitted: TypeAlias = Mapping[str, Any]  # JSON: what was learned of the training part
FORMAT = 1


def located(table: Table, column: Column, argument: str) -> object:
    """The name in the frame of what a recipe calls `column`; E0652 where there is none."""
    names = list(table.frame.columns)
    if isinstance(column, int):
        if -len(names) <= column < len(names):
            return names[column]
        message = f"`{table.path}` has {len(names)} columns, and none of number {column}"
        raise TrainError("E0652", message, argument=argument, helps=["columns are counted from 0"])
    if column in names:
        return column
    headless = not any(isinstance(name, str) for name in names)
    more = "without a header, columns are called by number" if headless else f"it has {known(names)}"
    near = () if headless else did_you_mean(column, names)
    message = f"`{table.path}` has no column `{column}`"
    raise TrainError("E0652", message, argument=argument, helps=[*near, more])


def numbers(table: Table, column: Column, argument: str, *, gaps: bool = False) -> Numbers:
    """A column as float64; E0653 where a cell is text, E0654 where one is missing and `gaps` are not allowed."""
    import numpy
    from pandas import to_numeric

    found: Any = table.frame[located(table, column, argument)]
    cells = _plain(found, table.decimal)
    converted: Any = to_numeric(cells, errors="coerce")
    values: Numbers = converted.to_numpy(dtype=numpy.float64)
    missing = cells.isna().to_numpy()
    wrong = numpy.flatnonzero(~numpy.isfinite(values) & ~missing)
    if len(wrong):
        raise _not_numeric(table, column, argument, cells, int(wrong[0]))
    if missing.any() and not gaps:
        help_ = f"say what stands for them, for example `Numeric({_quoted(column)}, fill = 0, flag = True)`"
        if not argument.startswith("features"):
            help_ = "leave those rows out of the file"
        raise _gaps(table, column, argument, missing, help_)
    return values


_TRUTH = {"true": "1", "false": "0"}


def _plain(cells: Series, decimal: str) -> Series:
    """A column as Python writes numbers: with a point before the decimals, and 1 and 0 where all of it is true and
    false.
    """
    if cells.dtype != object:
        return cells
    distinct = [text for text in cells.unique() if isinstance(text, str)]
    if distinct and all(text.lower() in _TRUTH for text in distinct):
        return cells.map({text: _TRUTH[text.lower()] for text in distinct})
    return cells.str.replace(decimal, ".", regex=False) if decimal != "." else cells


def fit(features: Sequence[Feature], table: Table) -> Fitted:
    """What `features` have to know of the training part."""
    learned = [_learn(feature, table, f"features.{i}") for i, feature in enumerate(features)]
    return {"format": FORMAT, "features": [f.described() for f in features], "learned": learned}


def encode(features: Sequence[Feature], fitted: Fitted, table: Table) -> Numbers:
    """The columns that `features` make of `table`, [rows, inputs] in float64."""
    import numpy
    from pandas import DataFrame
    from sklearn.compose import ColumnTransformer

    columns: dict[str, Any] = {}
    steps: list[tuple[str, Any, list[str]]] = []
    for i, (feature, learned) in enumerate(zip(features, fitted["learned"], strict=True)):
        argument = f"features.{i}"
        if isinstance(feature, Numeric):
            for j, (column, facts) in enumerate(zip(feature.columns(), learned, strict=True)):
                name = f"{i}.{j}"
                columns[name] = numbers(table, column, argument, gaps=feature.fill is not None)
                steps.append((name, _numeric_step(feature, facts), [name]))
        elif isinstance(feature, OneHot):
            columns[f"{i}"] = _categories(table, feature, learned["categories"], argument)
            steps.append((f"{i}", _one_hot_step(feature, learned["categories"]), [f"{i}"]))
        elif isinstance(feature, Missing):
            cells: Any = table.frame[located(table, feature.column, argument)]
            columns[f"{i}"] = cells.isna().to_numpy(dtype=numpy.float64)
            steps.append((f"{i}", "passthrough", [f"{i}"]))
    made = ColumnTransformer(steps, sparse_threshold=0).fit_transform(DataFrame(columns))
    return numpy.asarray(made, dtype=numpy.float64)


def check_fitted(features: Sequence[Feature], fitted: Fitted) -> None:
    """Refuse what was learned for other features (E0655)."""
    if fitted.get("format") != FORMAT or fitted.get("features") != [f.described() for f in features]:
        raise TrainError(
            "E0655",
            "the preprocessing that was saved with the weights is of other `features`",
            argument="features",
            helps=["use the recipe that the run began with: it is in the run's folder `spec`"],
        )


def as_declared(cells: Series, names: Sequence[str]) -> Any:
    """Cells as the categories `names` are written: where those are whole numbers, `1.0` is `1`."""
    if not all(name.lstrip("-").isdecimal() for name in names):
        return cells
    return cells.map({text: text if text in names else _whole(text) for text in cells.dropna().unique()})


def _whole(text: str) -> str:
    kind, value, _ = in_order(text)
    return category_name(value) if kind == 0 else text


def feature_names(features: Sequence[Feature], fitted: Fitted) -> tuple[str, ...]:
    """What each input is, in order, as `Age`, `Age missing`, `Sex = male`."""
    names: list[str] = []
    for feature, learned in zip(features, fitted["learned"], strict=True):
        if isinstance(feature, Numeric):
            for column in feature.columns():
                names += [f"{column}", f"{column} missing"] if feature.flag else [f"{column}"]
        elif isinstance(feature, OneHot):
            names += [f"{feature.column} = {category}" for category in learned["categories"]]
            names += [f"{feature.column} missing"] * feature.missing
        elif isinstance(feature, Missing):
            names.append(f"{feature.column} missing")
    return tuple(names)


# ---------------------------------------------------------------------------------------- what is learned


def _learn(feature: Feature, table: Table, argument: str) -> Any:
    if isinstance(feature, Numeric):
        return [_learn_numeric(feature, table, column, argument) for column in feature.columns()]
    if isinstance(feature, OneHot):
        return {"categories": _learn_categories(feature, table, argument)}
    return {}


def _learn_numeric(feature: Numeric, table: Table, column: Column, argument: str) -> dict[str, float | None]:
    import numpy
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    values = numbers(table, column, argument, gaps=feature.fill is not None).reshape(-1, 1)
    fill = feature.fill
    if isinstance(fill, str):
        if numpy.isnan(values).all():
            message = f"`{column}` has no value in the training part, so it has no {fill}"
            raise TrainError("E0654", message, argument=argument, helps=["give a number as `fill`"])
        imputer: Any = SimpleImputer(strategy=fill).fit(values)
        fill = float(imputer.statistics_[0])
    mean = scale = None
    if feature.standardise:
        whole = values if fill is None else numpy.where(numpy.isnan(values), fill, values)
        scaler: Any = StandardScaler().fit(whole)
        mean, scale = float(scaler.mean_[0]), float(scaler.scale_[0])
    return {"fill": fill, "mean": mean, "scale": scale}


def _learn_categories(feature: OneHot, table: Table, argument: str) -> list[str]:
    if feature.categories is not None:
        return [category_name(c) for c in feature.categories]
    cells: Any = table.frame[located(table, feature.column, argument)].dropna()
    return sorted(cells.unique(), key=in_order)


def in_order(text: str) -> tuple[int, float, str]:
    """Numbers by size, before names."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


# -------------------------------------------------------------------------------- what is made of it


def _numeric_step(feature: Numeric, facts: Mapping[str, float | None]) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    stages: list[Any] = []
    if facts["fill"] is not None:
        stages.append(SimpleImputer(strategy="constant", fill_value=facts["fill"], keep_empty_features=True))
    if facts["mean"] is not None:
        stages.append(
            FunctionTransformer(_standardised, kw_args={"mean": facts["mean"], "scale": facts["scale"]})
        )
    value = make_pipeline(*stages) if stages else "passthrough"
    if not feature.flag:
        return value
    return FeatureUnion([("value", value), ("missing", FunctionTransformer(_missing))])


def _standardised(values: Any, mean: float, scale: float) -> Any:
    return (values - mean) / scale


def _missing(values: Any) -> Any:
    return values.isna().astype(float)


def _one_hot_step(feature: OneHot, categories: Sequence[str]) -> Any:
    from sklearn.preprocessing import OneHotEncoder

    known_ = [*categories, _NOTHING] if feature.missing else list(categories)
    encoder: Any = OneHotEncoder
    return encoder(categories=[known_], handle_unknown=feature.handle_unknown, sparse_output=False)


_NOTHING = "\0 nothing"  # the category of cells that are missing: no text file holds it


def _categories(table: Table, feature: OneHot, names: Sequence[str], argument: str) -> Any:
    """The cells of a column of categories; E0654 for gaps without a rule, E0653 for one that is not known."""
    cells: Any = table.frame[located(table, feature.column, argument)]
    missing = cells.isna().to_numpy()
    if missing.any() and not feature.missing and feature.handle_unknown == "error":
        help_ = f"give them a column of their own: `OneHot({_quoted(feature.column)}, missing = True)`"
        raise _gaps(table, feature.column, argument, missing, help_)
    found = as_declared(cells, names)
    strange = found[~found.isin(list(names)) & ~cells.isna()]
    if len(strange) and feature.handle_unknown == "error":
        row = int(cast("int", strange.index[0]))
        raise TrainError(
            "E0653",
            f"`{strange.iloc[0]}` is no category of `{feature.column}`, but stands in {table.place(row)} of "
            f"`{table.path}`",
            argument=argument,
            notes=[f"its categories are {known(names)}"],
            helps=[
                *did_you_mean(str(strange.iloc[0]), names),
                'add it to `categories`, or say `handle_unknown = "ignore"`',
            ],
        )
    return found.where(~cells.isna(), _NOTHING)


# ------------------------------------------------------------------------------------------- problems


def _not_numeric(table: Table, column: Column, argument: str, cells: Series, row: int) -> TrainError:
    distinct = cells.dropna().unique()
    text = str(cells.iloc[row])
    helps: list[str] = []
    if _DECIMALS.fullmatch(text) and table.decimal == ".":
        helps.append('`decimal = ","` reads a comma before the decimals')
    elif _DATE.match(text):
        helps.append(
            "make numbers of dates first, as days since the first one, or columns for year, month and day"
        )
    elif text in _NOTHINGS:
        helps.append(f'where it stands for nothing, say so: `na_values = ["{text}"]`')
    elif _mostly_numbers(distinct):
        helps.append("correct the cell, or leave it empty and say what stands for it then")
        helps[0] += f", as `Numeric({_quoted(column)}, fill = 0)`" * argument.startswith("features")
    elif argument.startswith("features") and len(distinct) <= 50:
        helps.append(f"a column of categories is `OneHot({_quoted(column)})`, in the list `features`")
    elif argument.startswith("target"):
        example = ", ".join(_quoted(str(c)) for c in sorted(map(str, distinct))[:3])
        helps.append(f"names of classes are listed: `classes = [{example}]`")
    else:
        helps.append("leave it out of `features`")
    what = "is not finite" if text.lower().lstrip("+-") in ("inf", "infinity") else "is not a number"
    return TrainError(
        "E0653",
        f"`{column}` is taken as numbers, and `{text}` in {table.place(row)} of `{table.path}` {what}",
        argument=argument,
        helps=helps,
    )


_DECIMALS = re.compile(r"[+-]?\d+,\d+")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{2,4}")
_NOTHINGS = ("?", "-", "--", ".", "missing", "unknown", "none", "Null", "NAN")


def _mostly_numbers(cells: Iterable[object]) -> bool:
    """Whether the text among them is likely a slip."""
    found = [in_order(str(cell))[0] == 0 for cell in cells]
    return sum(found) > len(found) / 2


def _gaps(table: Table, column: Column, argument: str, missing: Numbers, help_: str) -> TrainError:
    first, count = int(missing.argmax()), int(missing.sum())
    has = f"nothing in {count} of {len(missing)} rows" if count > 1 else "nothing"
    message = f"`{column}` has {has} of `{table.path}`, {'first ' * (count > 1)}in {table.place(first)}"
    if count == 1:
        message = f"`{column}` has nothing in {table.place(first)} of `{table.path}`"
    return TrainError("E0654", message, argument=argument, helps=[help_])


def _quoted(column: Column) -> str:
    return f'"{column}"' if isinstance(column, str) else str(column)
