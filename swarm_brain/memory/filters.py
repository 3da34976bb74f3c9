"""Filters of a search, as LangGraph's own stores define them. Pure."""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping
from typing import Any

# Values of any type are compared; those without an order raise TypeError.
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operators.gt,
    "$gte": operators.ge,
    "$lt": operators.lt,
    "$lte": operators.le,
}


def matches(value: Mapping[str, object], conditions: Mapping[str, object]) -> bool:
    """Return whether a value meets all conditions of a filter.

    A condition is a value to equal, a mapping of $eq $ne $gt $gte $lt $lte to operands, or a
    mapping of conditions for a mapping within the value.
    """
    return all(_meets(value.get(key), condition) for key, condition in conditions.items())


def _meets(value: object, condition: object) -> bool:
    if not isinstance(condition, Mapping):
        return bool(value == condition)
    if any(str(key).startswith("$") for key in condition):
        return all(_compares(value, operator, operand) for operator, operand in condition.items())
    return isinstance(value, Mapping) and matches(value, condition)


def _compares(value: object, operator: str, operand: object) -> bool:
    if operator in ("$eq", "$ne"):
        return bool(value == operand) == (operator == "$eq")
    if operator not in _ORDERS:
        raise ValueError(f"unknown operator {operator!r} in a filter")
    try:
        return bool(_ORDERS[operator](value, operand))
    except TypeError:  # text and a number have no order
        return False
