"""Networks and losses of the user: the function that builds one, by its name."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from torch import nn

from aclnet.datasets.spec import AclnetError, did_you_mean, shown
from aclnet.datasets.spec.user_code import UserFunction, file_of, load_function, names_code, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def find_builder(
    name: str, group: str, setting: str, shipped: Iterable[str], page: str = "docs/networks.md"
) -> UserFunction:
    """The function that a setting names by its place or by an entry point of a group.

    Raises AclnetError, with the known names (`shipped` are ours), and like `load_function`. `page`
    is the page that describes such functions.
    """
    if names_code(name):
        return load_function(name, setting)
    installed = {point.name: point for point in entry_points(group=group)}
    if name not in installed:
        known = [*shipped, *sorted(installed)]
        raise AclnetError(
            f"{setting}: there is no {shown(repr(name))}{did_you_mean(name, known)}; "
            f"known: {', '.join(known)}, "
            f"or your own as package.module:function ({page})"
        )
    point = installed[name]
    try:
        function = point.load()
    except Exception as error:
        raise AclnetError(
            f"{point.value}, an entry point of {group}, cannot be loaded: {told(error)}; repair or "
            "remove its package"
        ) from error
    if not callable(function):
        raise AclnetError(f"{point.value}, an entry point of {group}, is not a function")
    return UserFunction(name, function, file_of(sys.modules[point.module]))


def build(
    builder: UserFunction, dimensions: object, options: Mapping[str, Any], setting: str
) -> nn.Module:
    """The module that a function of the user builds; `setting` is the source of the options.

    Raises AclnetError if the function fails or returns something else.
    """
    try:
        module = builder.call(dimensions, **options)
    except AclnetError:
        raise
    except Exception as error:
        given = f" with {setting} {', '.join(options)}" if options else ""
        raise AclnetError(f"{builder.name} fails{given}: {told(error)}") from error
    if not isinstance(module, nn.Module):
        raise AclnetError(
            f"{builder.name} returns {kind_of(module)}; a torch.nn.Module is expected"
        )
    return module


def kind_of(value: object) -> str:
    """The type of a value, in words."""
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in value) or 'nothing'}"
    return f"a {type(value).__name__}"
