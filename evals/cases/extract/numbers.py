"""Read numbers as people and models write them, as exact fractions. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_GROUPED = "|".join(
    rf"\d{{1,3}}(?:{separator}\d{{3}}){{1,12}}(?!\d)(?:\.\d{{1,200}})?" for separator in ",' _"
)
_DIGITS = (
    rf"{_GROUPED}"
    r"|\d{1,2}(?:,\d\d){1,9},\d{3}(?!\d)(?:\.\d{1,200})?"  # India: 1,00,000
    r"|\d{1,3}(?:\.\d{3}){1,12},\d{1,9}(?!\d)"  # 1.234,56
    r"|\d{1,200},\d\d?(?![\d/]|,\d)"  # 3,5
    r"|\d{1,200}(?:\.\d{1,200})?"
    r"|\.\d{1,200}"
)
_TIMES_TEN = r"\s?[x×·*]\s?10\s?(?:\^|\*\*)\s?\(?(?P<ten>[-+]?\d{1,2})\)?"
_NUMBER = re.compile(
    r"(?:(?<![\w)])(?P<sign>-|\+|\bminus\s|\bnegative\s))?(?<![\w^])(?<!\d[.,/:])"
    r"(?:(?P<whole>\d{1,9})\s(?=\d{1,9}/))?"  # 3 1/2
    rf"(?P<digits>{_DIGITS})"
    rf"(?:e(?P<e>[-+]?\d{{1,2}})\b|{_TIMES_TEN}|(?:\^|\*\*)(?P<power>\d{{1,2}}))?"
    r"(?:\s?/\s?(?P<below>\d{1,200}))?"
    r"(?!\d|[:/]\d|\.\d|,\d|e[-+]?\d|\s?\^|[nxyz]\b)"  # no part of a time, date or formula
    r"(?:\s?(?P<scale>dozen|hundred|thousand|million|billion|trillion)s?\b|(?P<k>k)\b)?"
    r"(?P<percent>\s?(?:%|percent\b|per\scent\b))?",
    re.IGNORECASE,
)
_FORMULA = re.compile(r"√|sqrt|π|\b(?:pi|log|ln|sin|cos|tan)\b", re.IGNORECASE)
_SCALES = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {
    **{word: value for value, word in enumerate(_SMALL)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
}
_WORD = rf"(?:{'|'.join([*_WORDS, 'hundred', 'thousand', 'million'])})"
_SPELT = re.compile(rf"(?<!\bno\s)\b{_WORD}\b(?:(?:[ -]|\sand\s){_WORD}\b){{0,12}}", re.IGNORECASE)
_AROUND = " \t\n!\"'()[]"
_LARGEST_POWER = 64


@dataclass(frozen=True)
class Number:
    """A number, and whether it was stated in percent (50% has the value 50)."""

    value: Fraction
    percent: bool = False

    def __str__(self) -> str:
        return _plain(self.value) + "%" * self.percent


def find(text: str) -> list[tuple[int, Number]]:
    """Find the numbers in a text and where each begins.

    Number words count only if the text has no digits. A formula such as 2√3 has no numbers, since
    its digits alone are not its value.
    """
    if _FORMULA.search(text):
        return []
    matches = [(match.start(), _number(match)) for match in _NUMBER.finditer(_bare(text))]
    stated = [(at, number) for at, number in matches if number is not None]
    if stated or any(character.isdigit() for character in text):
        return stated
    return [(match.start(), Number(_spelt(match[0]))) for match in _SPELT.finditer(text)]


def read(text: str) -> Number | None:
    """Read a text that is one number with an optional currency or percent sign."""
    bare = _bare(text).strip(_AROUND).rstrip(".").strip(_AROUND)
    match = _NUMBER.fullmatch(bare)
    return _number(match) if match else None


def same(stated: Number, key: Number) -> bool:
    """Return whether a stated number is the key.

    50% is 0.5 and also 50, since questions that ask for percents have keys without the sign.
    A key without a finite decimal form (1/3) is met by two or more correctly rounded decimals.
    """
    return bool(_values(stated) & _values(key)) or _rounded(stated.value, key.value)


def _values(number: Number) -> set[Fraction]:
    return {number.value, number.value / 100} if number.percent else {number.value}


def _rounded(stated: Fraction, key: Fraction) -> bool:
    places = len(_plain(stated).partition(".")[2])
    return places >= 2 and "/" in _plain(key) and round(key, places) == stated


def _bare(text: str) -> str:
    """Remove currency signs, and move each sign of a number to its digits."""
    text = re.sub(r"-\s?\((\d[\d.,]*)\)", r"-\1", text)
    text = re.sub(r"([-+])\s?[$€£¥₹]\s?(?=[\d.])", r" \1", text)
    text = re.sub(r"(?:\b(?:US|A|C))?[$€£¥₹]\s?(?=[-+\d.])", " ", text)
    return text


def _number(match: re.Match[str]) -> Number | None:
    value = _digits(match["digits"])
    exponent = int(match["e"] or match["ten"] or 0)
    value *= Fraction(10) ** exponent
    if match["power"]:
        if int(match["power"]) > _LARGEST_POWER:
            return None
        value **= int(match["power"])
    if match["below"]:
        if not int(match["below"]):
            return None
        value /= int(match["below"])
    value += int(match["whole"] or 0)
    value *= _SCALES[match["scale"].lower()] if match["scale"] else 1000 if match["k"] else 1
    negative = (match["sign"] or "").strip().lower() in ("-", "minus", "negative")
    return Number(-value if negative else value, bool(match["percent"]))


def _digits(text: str) -> Fraction:
    plain = re.sub(r"[ '_]", "", text)
    if re.fullmatch(r"\d+,\d\d?|\d{1,3}(?:\.\d{3})+,\d+", plain):
        plain = plain.replace(".", "").replace(",", ".")
    return Fraction(plain.replace(",", ""))


def _spelt(words: str) -> Fraction:
    total = part = 0
    for word in re.findall(r"[a-z]+", words.lower()):
        if word == "hundred":
            part = (part or 1) * 100
        elif word in _SCALES:
            total, part = total + (part or 1) * _SCALES[word], 0
        else:
            part += _WORDS.get(word, 0)
    return Fraction(total + part)


def _plain(value: Fraction) -> str:
    """Write the digits if there is a finite decimal form, else numerator/denominator."""
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    if below != 1:
        return f"{value.numerator}/{value.denominator}"
    places = value.denominator.bit_length()
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")
    return "-" * (value < 0) + text
