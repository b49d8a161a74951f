"""The settings of a run as people read them: names, values, defaults, meanings and mistakes.

Everything is read from the pydantic models of the configuration. A meaning is the docstring of a
model's attribute (`use_attribute_docstrings`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from textwrap import wrap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import tomli_w
from pydantic import BaseModel

from aclnet.datasets.spec import any_of, did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_WIDTH = 88
_TYPES = {"boolean": "true or false", "string": "text", "object": "table"}
_BOUNDS = {
    "minimum": "of at least",
    "exclusiveMinimum": "greater than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a run."""

    name: str
    """Name with dots, for `--set`: `optim.epochs`."""
    values: str
    """The allowed values, in words."""
    default: Any
    """The value without a recipe, as JSON holds it; None: not set."""
    meaning: str

    def __str__(self) -> str:
        """Several lines: name, values and default, meaning."""
        default = "not set" if self.default is None else json.dumps(self.default)
        about = [f"Values: {self.values}. Default: {default}.", *_wrapped(self.meaning)]
        return "\n    ".join([self.name, *about])


@cache
def settings_of(model: type[BaseModel]) -> Mapping[str, Setting]:
    """The settings of a configuration by name, section by section."""
    schema = model.model_json_schema()
    return MappingProxyType({s.name: s for s in _settings(schema, schema["$defs"], "")})


def _settings(
    section: Mapping[str, Any], models: Mapping[str, Any], prefix: str
) -> Iterator[Setting]:
    """The settings of a section, given as JSON schema, and of the sections in it."""
    for key, about in section["properties"].items():
        name = f"{prefix}{key}"
        if "$ref" in about:
            yield from _settings(models[about["$ref"].rpartition("/")[2]], models, f"{name}.")
        else:
            meaning = " ".join(about.get("description", "").split())
            yield Setting(name, _values(about), about["default"], meaning)


def _values(about: Mapping[str, Any]) -> str:
    """The allowed values of a setting, given as JSON schema, in words."""
    return any_of(_choices(about))


def _choices(about: Mapping[str, Any]) -> list[str]:
    if "anyOf" in about:
        kinds = [kind for kind in about["anyOf"] if kind["type"] != "null"]
        return [choice for kind in kinds for choice in _choices(kind)]
    if "enum" in about:
        return list(about["enum"])
    if "prefixItems" in about:
        several = f"{len(about['prefixItems'])} {_values(about['prefixItems'][0])}s"
        return [f"list of {several} in brackets"]
    if "items" in about:
        return [f"list of {_values(about['items'])}s in brackets"]
    bounds = [f"{words} {about[key]:.10g}" for key, words in _BOUNDS.items() if key in about]
    return [f"{_TYPES.get(about['type'], about['type'])} {' and '.join(bounds)}".strip()]


def problems(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Problems of the values of a configuration: one sentence for each key.

    Pydantic reports several problems for a key that takes values of several kinds.
    """
    by_key: dict[str, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        names = list(map(str, details["loc"]))
        if details["type"] != "extra_forbidden":
            # not the member of a union that was tried, as `constrained-int`
            names = list(filter(str.isidentifier, names))
        by_key.setdefault(".".join(names), []).append(details)
    return [_problem(key, found, model) for key, found in by_key.items()]


def _problem(key: str, found: list[ErrorDetails], model: type[BaseModel]) -> str:
    first = found[0]
    if first["type"] == "extra_forbidden":
        known = _known(first["loc"][:-1], model)
        similar = did_you_mean(key, [*settings_of(model), *known], dotted=True)
        return f"there is no {shown(key)}{similar}; known: {', '.join(known)}"
    message = first["msg"].removeprefix("Value error, ")
    if len(found) > 1 or first["type"] in ("list_type", "tuple_type"):
        message = f"Input should be {settings_of(model)[key].values}"
    given = first["input"]
    return f"{key}: {message}" + ("" if isinstance(given, dict) else f", not {shown(repr(given))}")


def _known(section: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Keys of a section of the configuration."""
    for name in section:
        model = model.model_fields[str(name)].annotation  # type: ignore[assignment]
    prefix = "".join(f"{name}." for name in section)
    return [f"{prefix}{name}" for name in model.model_fields]


def by_name(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested tables by their names with dots, for example `optim.epochs`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        found |= by_name(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return found


def commented_toml(config: BaseModel, table: str = "") -> str:
    """The TOML text of a configuration, with the meaning of each setting as a comment above it.

    Args:
        config: A configuration, or one of its sections.
        table: Name of the section, as `loss.families`.
    """
    values = config.model_dump(mode="json")
    lines = [_comment(type(config).__doc__), f"[{table}]\n" if table else "\n"]
    tables = []
    for name, field in type(config).model_fields.items():
        value, meaning = getattr(config, name), _comment(field.description)
        inner = f"{table}.{name}" if table else name
        if isinstance(value, BaseModel):
            tables.append(commented_toml(value, inner))
        elif isinstance(value, dict):
            tables.append(meaning + tomli_w.dumps(_nested(inner, values[name])))
        elif value is None:
            lines.append(f"{meaning}# {name} is not set\n")
        else:
            lines.append(meaning + tomli_w.dumps({name: values[name]}))
    return "\n".join(["".join(lines), *tables])


def _comment(text: str | None) -> str:
    """The first paragraph of a docstring as lines of a TOML comment."""
    paragraph = (text or "").split("\n\n")[0]
    return "".join(f"# {line}\n" for line in _wrapped(paragraph))


def _wrapped(text: str) -> list[str]:
    return wrap(text, _WIDTH, break_on_hyphens=False)


def _nested(path: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever TOML holds
    """The value below the keys of a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value  # type: ignore[no-any-return]
