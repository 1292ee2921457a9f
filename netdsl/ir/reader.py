"""One line of a graph's text, read token by token: names, sizes, types, static values."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from netdsl.ir.dims import MAX_BITS, MAX_DEGREE, Dim, symbol
from netdsl.ir.types import DTYPES, UNKNOWN, Tensor, Type
from netdsl.ir.values import GraphFormatError, Shown, Vocabulary, made

MAX_NESTING = 100

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*") | (?P<float>\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)) | (?P<int>\d+)
      | (?P<name>[A-Za-z_]\w*) | (?P<sign>\.\.\.|//|\*\*|==|<=|>=|!=|[-+*%()\[\],:=<>@]) | (?P<rest>\#.*|$)
      | (?P<other>.)
    )""",
    re.VERBOSE | re.ASCII,
)


class Reader:
    """The tokens of one line, after which a comment may stand. Every error names the place and the column."""

    def __init__(self, text: str, place: str, vocabulary: Vocabulary) -> None:
        self.place = place
        self.vocabulary = vocabulary
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        self._depth = 0
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "rest"
            if kind == "rest":
                self._tokens.append(("end", "the end of the line", match.start(kind)))
                break
            self._tokens.append((kind, match[kind], match.start(kind)))

    # Tokens

    @property
    def kind(self) -> str:
        """Of the next token: "string", "float", "int", "name", "sign", "other" or "end"."""
        return self._tokens[self._next][0]

    def at(self, *texts: str) -> bool:
        """Whether these come next."""
        ahead = self._tokens[self._next : self._next + len(texts)]
        return [text for _, text, _ in ahead] == list(texts)

    def followed_by(self, text: str) -> bool:
        """Whether `text` comes after the next token."""
        return [found for _, found, _ in self._tokens[self._next + 1 : self._next + 2]] == [text]

    def take(self) -> str:
        """The next token."""
        text = self._tokens[self._next][1]
        if self.kind != "end":
            self._next += 1
        return text

    def accept(self, text: str) -> bool:
        """Take `text` where it comes next."""
        found = self.at(text) and self.kind in ("sign", "name")
        if found:
            self.take()
        return found

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.expected(f"`{text}`")

    def fail(self, message: str) -> NoReturn:
        column = self._tokens[self._next][2] + 1
        raise GraphFormatError(f"{self.place}, column {column}: {message}")

    def expected(self, what: str) -> NoReturn:
        """Refuse the next token, where something else has to stand."""
        found = self._tokens[self._next][1]
        self.fail(f"expected {what}, found {found if self.kind == 'end' else f'`{found}`'}")

    def end(self) -> None:
        if self.kind != "end":
            self.expected("the end of the line")

    # Names and numbers

    def name(self, what: str = "a name") -> str:
        """An identifier, or any text in quotes."""
        if self.kind == "string":
            return self.string()
        if self.kind != "name":
            self.expected(f"{what}")
        return self.take()

    def string(self) -> str:
        if self.kind != "string":
            self.expected("a text in quotes")
        try:
            return json.loads(self._tokens[self._next][1])
        except ValueError:
            self.expected("a text with valid escapes")
        finally:
            self.take()

    def integer(self) -> int:
        if self.kind != "int" or len(self._tokens[self._next][1]) > MAX_BITS:
            self.expected("a number")
        return int(self.take())

    def number_of_value(self) -> int:
        """The 3 of `%3`."""
        self.expect("%")
        return self.integer()

    # Sizes, with Python's precedence

    def size(self) -> Dim:
        """A dimension, as `(H - 3)//2 + 1`."""
        try:
            return self._sum()
        except (ArithmeticError, ValueError) as problem:
            if isinstance(problem, GraphFormatError):
                raise
            self.fail(f"{problem}")

    def _sum(self) -> Dim:
        total = self._product()
        while self.at("+") or self.at("-"):
            total = total + self._product() if self.take() == "+" else total - self._product()
        return total

    def _product(self) -> Dim:
        total = self._signed()
        while self.at("*") or self.at("//") or self.at("%"):
            sign = self.take()
            factor = self._signed()
            total = total * factor if sign == "*" else total // factor if sign == "//" else total % factor
        return total

    def _signed(self) -> Dim:
        if self.at("-"):
            self._enter()
            self.take()
            negated = -self._signed()
            self._depth -= 1
            return negated
        base = self._single()
        if not self.accept("**"):
            return base
        exponent = self.integer()
        if exponent > MAX_DEGREE or (isinstance(base, int) and base.bit_length() > MAX_BITS):
            self.expected("a smaller power")
        return base**exponent

    def _single(self) -> Dim:
        if self.kind == "int":
            return self.integer()
        if self.kind == "name":
            return symbol(self.take())
        if not self.at("("):
            self.expected("a size")
        self._enter()
        self.take()
        inner = self._sum()
        self.expect(")")
        self._depth -= 1
        return inner

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_NESTING:
            self.fail(f"nested more than {MAX_NESTING} deep")

    # Types and values

    def type(self) -> Type:
        """`[N, 3]`, `int64[N, T]` or `unknown`."""
        if self.accept("unknown"):
            return UNKNOWN
        dtype = "float32"
        if self.kind == "name":
            if self._tokens[self._next][1] not in DTYPES:
                self.expected("a dtype")
            dtype = self.take()
        self.expect("[")
        shape: list[Dim] = []
        while not self.accept("]"):
            shape.append(self.size())
            if not self.at("]"):
                self.expect(",")
        return Tensor(tuple(shape), dtype)

    def value(self) -> Any:
        """A static value, as `2`, `[1, "same"]`, `None`, `H//2`, `float32[3]` or `Stride(step = 2)`."""
        if self.kind == "string":
            return self.string()
        if self.accept("..."):
            return Ellipsis
        if self.at("["):
            return self._list()
        negative = self.at("-") and self._tokens[self._next + 1][0] == "float"
        if negative:
            self.take()
        if self.kind == "float":
            number = float(self.take())
            return -number if negative else number
        for word, constant in (("None", None), ("True", True), ("False", False)):
            if self.accept(word):
                return constant
        if self.kind == "name" and self.followed_by("("):
            return self._made()
        if self.kind == "name" and self.followed_by("["):
            return self.type()
        return self.size()

    def _list(self) -> tuple[Any, ...]:
        self._enter()
        self.take()
        items: list[Any] = []
        while not self.accept("]"):
            items.append(self.value())
            if not self.at("]"):
                self.expect(",")
        self._depth -= 1
        return tuple(items)

    def _made(self) -> Any:
        if self.at("float", "(") or self.at("shown", "("):
            kind = self.take()
            self.expect("(")
            text = self.string()
            self.expect(")")
            return Shown(text) if kind == "shown" else self._infinite(text)
        self._enter()
        name, arguments = self.call()
        self._depth -= 1
        return self.build(self.vocabulary.value, "value", name, arguments)

    def _infinite(self, text: str) -> float:
        if text not in ("inf", "-inf", "nan"):
            self.expected('`float("inf")`, `float("-inf")` or `float("nan")`')
        return float(text)

    def call(self) -> tuple[str, dict[str, Any]]:
        """`Conv2d(out_channels = 8)`: the name, and the arguments."""
        name = self.name()
        return name, self.arguments() if self.at("(") else {}

    def arguments(self) -> dict[str, Any]:
        self.expect("(")
        found: dict[str, Any] = {}
        while not self.accept(")"):
            key = self.name()
            if key in found:
                self.fail(f"`{key}` is given twice")
            self.expect("=")
            found[key] = self.value()
            if not self.at(")"):
                self.expect(",")
        return found

    def build(self, make: Any, kind: str, name: str, arguments: dict[str, Any]) -> Any:
        """What the vocabulary makes of a call."""
        try:
            return made(make, kind, name, arguments)
        except GraphFormatError as problem:
            raise GraphFormatError(f"{self.place}: {problem}") from problem


def read_size(text: str) -> Dim:
    """The size that `text` says. Raises `GraphFormatError`."""
    reader = Reader(text, "size", Vocabulary(_nothing))
    size = reader.size()
    reader.end()
    return size


def read_type(text: str) -> Type:
    """The type that `text` says. Raises `GraphFormatError`."""
    reader = Reader(text, "type", Vocabulary(_nothing))
    found = reader.type()
    reader.end()
    return found


def _nothing(name: str, _: dict[str, Any]) -> NoReturn:
    raise KeyError(name)
