"""Read YAML files that people write. Duplicate keys are an error; all errors are YAMLError."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


def read(text: str | bytes) -> object:
    """Return the document. Raises YAMLError."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  a safe loader
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # such as the date 2020-99-99, or bytes that are not UTF-8
        raise yaml.YAMLError(str(error)) from None


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that raises for duplicate keys instead of dropping one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; raise ConstructorError if a key is stated twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if double := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"{double[0]!r} is stated twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
