"""Names and literals of the generated Python. All text of a user's file passes through here before it becomes code."""

from __future__ import annotations

import keyword
import re
import textwrap
import unicodedata
from collections.abc import Container, Iterable
from itertools import groupby
from typing import Any, Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What the generated file imports or calls: nothing of the user's may take these names.
RESERVED: Final = _names(
    "self torch nn F Tensor Optional NamedTuple OrderedDict super range float int bool str tuple list "
    "dict getattr setattr isinstance module _"
)

# Attributes of every `nn.Module` (torch 2.6 to 2.15). A layer may have such a name, but is not reached as `self.name`.
MODULE_ATTRIBUTES: Final = _names(
    "T_destination __annotations__ __call__ __class__ __delattr__ __dict__ __dir__ __doc__ __eq__ "
    "__format__ __ge__ __getattr__ __getattribute__ __getstate__ __gt__ __hash__ __init__ "
    "__init_subclass__ __le__ __lt__ __module__ __ne__ __new__ __reduce__ __reduce_ex__ __repr__ "
    "__setattr__ __setstate__ __sizeof__ __static_attributes__ __str__ __firstlineno__ __subclasshook__ "
    "__weakref__ _apply _backward_hooks _backward_pre_hooks _buffers _call_impl _compiled_call_impl "
    "_forward_hooks _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks "
    "_forward_pre_hooks_with_kwargs _get_backward_hooks _get_backward_pre_hooks _get_name "
    "_is_full_backward_hook _is_hf_initialized _load_from_state_dict _load_state_dict_post_hooks "
    "_load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members "
    "_non_persistent_buffers_set _parameters _register_load_state_dict_pre_hook _register_state_dict_hook "
    "_replicate_for_data_parallel _save_to_state_dict _slow_forward _state_dict_hooks "
    "_state_dict_pre_hooks _version _wrapped_call_impl add_module apply bfloat16 buffers call_super_init "
    "children compile cpu cuda double dump_patches eval extra_repr float forward get_buffer "
    "get_extra_state get_parameter get_submodule half init_weights ipu load_state_dict modules mtia "
    "named_buffers named_children named_modules named_parameters parameters register_backward_hook "
    "register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook "
    "register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook "
    "register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook "
    "requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train training type "
    "xpu zero_grad"
)

# What the containers have besides.
CONTAINER_ATTRIBUTES: Final = _names(
    "__add__ __contains__ __delitem__ __getitem__ __iadd__ __imul__ __iter__ __len__ __mul__ __rmul__ "
    "__setitem__ _get_abs_string_index _get_item_by_idx append clear extend insert items keys pop update "
    "values"
)

DOC_WIDTH: Final = 94  # of a line of a docstring, which stands between quotes
_PROSE: Final = re.compile(r"(?![-*+|>#] )(?!\d+[.)] )\S")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_DOTTED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


def is_plain(name: str) -> bool:
    """Whether `name` can stand after a dot in a class body: an identifier, no keyword, not mangled by Python."""
    return bool(_PLAIN.fullmatch(name)) and not keyword.iskeyword(name) and not name.startswith("__")


def is_attribute(name: str) -> bool:
    """Whether `self.name` can hold a layer, a parameter or a buffer."""
    return is_plain(name) and name not in MODULE_ATTRIBUTES


def dotted(name: str) -> str:
    """`name` if it is a path as `torch.float32`. Operations write these; anything else is a fault of theirs."""
    if not _DOTTED.fullmatch(name):
        raise ValueError(f"not a dotted name: {name!r}")
    return name


def plain(name: str) -> str:
    """`name` if it is an identifier, as of an argument; anything else cannot be written."""
    if not is_plain(name):
        raise ValueError(f"not a name: {name!r}")
    return name


def identifier(text: str, taken: Container[str] = (), fallback: str = "x") -> str:
    """`text` as an identifier that is not in `taken`: unchanged where it can be.

    >>> identifier("planes"), identifier("class"), identifier("3x3-a"), identifier("x", {"x"})
    ('planes', 'class_', 'x3x3_a', 'x_2')
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    name = re.sub(r"^__+", "_", name)
    if not name.strip("_") or name[0].isdigit():
        name = fallback + name.rstrip("_")
    if keyword.iskeyword(name) or name in RESERVED:
        name += "_"
    return unique(name, taken)


def unique(name: str, taken: Container[str]) -> str:
    """`name`, or the first of `name_2`, `name_3`, … that is free."""
    if name not in taken:
        return name
    stem = name.rstrip("_")
    count = 2
    while f"{stem}_{count}" in taken:
        count += 1
    return f"{stem}_{count}"


def class_name(text: str, taken: Container[str]) -> str:
    """`text` as the name of a class; a lower-case one, as of a labelled list, is written in capitals.

    >>> class_name("InceptionA", ()), class_name("dense-block", ())
    ('InceptionA', 'DenseBlock')
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", text) if word]
    if text[:1].islower() or not is_plain(text):
        text = "".join(word[0].upper() + word[1:] for word in words)
    name = identifier(text, (), "Block")
    free = name
    count = 2
    while free in taken:
        free, count = f"{name}{count}", count + 1
    return free


def literal(value: Any) -> str:
    """A number, string, None or tuple of them as Python writes it, strings in double quotes where that needs no escape.

    >>> literal("a"), literal((1, 2.5)), literal(float("-inf"))
    ('"a"', '(1, 2.5)', 'float("-inf")')
    """
    if isinstance(value, str):
        text = repr(value)
        return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f'float("{value}")'
    if isinstance(value, tuple):
        inside = ", ".join(literal(item) for item in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if value is None or value is Ellipsis or type(value) in (bool, int, float):
        return "..." if value is Ellipsis else repr(value)
    raise TypeError(f"not a literal: {type(value).__name__}")


def same(left: Any, right: Any) -> bool:
    """Equal and of one type: `1`, `1.0` and `True` are three literals."""
    return type(left) is type(right) and (left == right or repr(left) == repr(right))


def comment(text: str) -> str:
    """`text` on one line, as a comment."""
    return "# " + "".join(c if c.isprintable() else " " for c in text)


def docstring(lines: Iterable[str], indent: str) -> list[str]:
    """The lines of a docstring. What is written in it stays text, whatever it is."""
    cleaned = [
        part for line in lines for part in _wrapped(_plain_text(line).rstrip(), DOC_WIDTH - len(indent))
    ]
    while cleaned and not cleaned[-1]:
        cleaned.pop()
    while cleaned and not cleaned[0]:
        cleaned.pop(0)
    if not cleaned:
        return []
    escaped = [line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') for line in cleaned]
    escaped[0] = escaped[0].lstrip()
    if escaped[-1].endswith('"') and len(escaped) == 1:
        escaped[-1] = escaped[-1][:-1] + '\\"'
    if escaped[0].startswith('"'):
        escaped[0] = "\\" + escaped[0]
    if len(escaped) == 1:
        return [f'{indent}"""{escaped[0]}"""']
    body = [f"{indent}{line}" if line else "" for line in escaped[1:]]
    return [f'{indent}"""{escaped[0]}', *body, f'{indent}"""']


def reflowed(lines: Iterable[str], width: int) -> list[str]:
    """Prose with its paragraphs filled anew where a line is too long; lists and what is indented stay as they are."""
    found: list[str] = []
    for is_prose, group in groupby(lines, lambda line: _PROSE.match(line) is not None):
        paragraph = list(group)
        if is_prose and any(len(line) > width for line in paragraph):
            paragraph = _wrapped(" ".join(paragraph), width)
        found += paragraph
    return found


def _wrapped(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    wrapped = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return wrapped if len(line) > width else [line]


def _plain_text(line: str) -> str:
    """Without control characters, those that reverse the direction of reading, and halves of characters."""
    line = line.replace("\t", "    ")
    bad = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(" " if unicodedata.category(c) in bad and c not in "\u200c\u200d" else c for c in line)
