"""Whether a value has what a search's filter asks, as LangGraph's own stores have it. Pure."""

from __future__ import annotations

import operator as operators
from collections.abc import Mapping
from typing import Any


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a value has what a filter asks: equality, one of $eq $ne $gt $gte $lt $lte, or of a
    mapping within it the same."""
    return all(_meets(value.get(key), condition) for key, condition in wanted.items())


def _meets(value: Any, condition: Any) -> bool:
    if not isinstance(condition, Mapping):
        return bool(value == condition)
    if any(str(key).startswith("$") for key in condition):
        return all(_compares(value, operator, operand) for operator, operand in condition.items())
    return isinstance(value, Mapping) and matches(value, condition)


def _compares(value: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "$eq":
            return bool(value == operand)
        case "$ne":
            return bool(value != operand)
        case "$gt" | "$gte" | "$lt" | "$lte":
            return _in_order(value, operator, operand)
        case _:
            raise ValueError(f"unknown operator {operator!r} in a filter")


_ORDERS = {"$gt": operators.gt, "$gte": operators.ge, "$lt": operators.lt, "$lte": operators.le}


def _in_order(value: Any, operator: str, operand: Any) -> bool:
    try:
        return bool(_ORDERS[operator](value, operand))
    except TypeError:  # a word is neither more nor less than a number
        return False
