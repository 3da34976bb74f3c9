"""Generate arithmetic and date questions with computed keys.

Each generator takes a random source and a difficulty from 1 to 4, and returns question and key.
"""

from __future__ import annotations

import calendar
import datetime
import random
from collections.abc import Callable

StoryStep = Callable[[random.Random, int], tuple[str, int]]
Generator = Callable[[random.Random, int], tuple[str, str]]

PEOPLE = ("Amina", "Boris", "Chloe", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas")
THINGS = ("stamps", "marbles", "postcards", "buttons", "shells", "candles", "badges", "coins")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
MOST_MULTIPLIED = 500
FEWEST_SHARED = 20
FIRST_DAY = datetime.date(1890, 1, 1)
DAYS = 65_000  # to 2067: across 1900, which is not a leap year, and 2000, which is
SPANS = {1: (3, 25), 2: (26, 120), 3: (121, 800), 4: (801, 9000)}  # days, by difficulty


def integer(rng: random.Random, difficulty: int) -> tuple[str, str]:
    """Return an expression in whole numbers with `difficulty` + 1 operations."""
    value = rng.randint(12, 60)
    text = str(value)
    for _ in range(difficulty + 1):
        text, value = _operation(rng, text, value)
    return f"What is {text}?", str(value)


def _operation(rng: random.Random, text: str, value: int) -> tuple[str, int]:
    inner = f"({text})" if " " in text else text
    last = text.rpartition(" ")[2]
    divisors = [n for n in range(3, 13) if value % n == 0 and str(n) != last]  # undo nothing
    kinds = ["plus", "minus", "from"] + ["times"] * 2 * (abs(value) <= MOST_MULTIPLIED)
    kind = rng.choice(kinds + ["divided"] * 3 * bool(divisors and abs(value) > 12))
    other = rng.randint(3, 12) if kind == "times" else rng.randint(11, 99)
    if kind == "divided":
        other = rng.choice(divisors)
        return f"{inner} ÷ {other}", value // other
    if kind == "from":
        return f"{other} − {inner}", other - value
    if kind == "times":
        return f"{inner} × {other}", value * other
    sign, change = ("+", other) if kind == "plus" else ("−", -other)
    return f"{inner} {sign} {other}", value + change


def story(rng: random.Random, difficulty: int) -> tuple[str, str]:
    """Return a word problem of `difficulty` + 1 changes."""
    person, things = rng.choice(PEOPLE), rng.choice(THINGS)
    value = rng.randint(20, 90)
    sentences = [f"{person} has {value} {things}."]
    last: StoryStep | None = None
    for _ in range(difficulty + 1):
        steps = STEPS if value >= FEWEST_SHARED else GROWING
        last = rng.choice([step for step in steps if step is not last])
        sentence, value = last(rng, value)
        sentences.append(sentence.format(person=person, things=things))
    return f"{' '.join(sentences)} How many {things} does {person} have now?", str(value)


def _buys(rng: random.Random, value: int) -> tuple[str, int]:
    packets, each = rng.randint(3, 9), rng.randint(4, 25)
    text = f"{{person}} buys {packets} packets of {each} {{things}} each."
    return text, value + packets * each


def _finds(rng: random.Random, value: int) -> tuple[str, int]:
    number = rng.randint(7, 60)
    return f"{{person}} finds {number} more {{things}} in a drawer.", value + number


def _sells(rng: random.Random, value: int) -> tuple[str, int]:
    number = rng.randint(2, max(2, value // 2))
    return f"{{person}} sells {number} {{things}}.", value - number


def _shares(rng: random.Random, value: int) -> tuple[str, int]:
    """Divide evenly, after adding a loss that removes any remainder."""
    people = rng.randint(3, 6)
    over = value % people
    lost = f"{{person}} loses {over} of the {{things}}. Then " if over else ""
    text = (
        f"{lost}{{person}} divides all the {{things}} evenly among {people} people, "
        "{person} being one of them, and the others take theirs away."
    )
    return text, value // people


def _doubles(rng: random.Random, value: int) -> tuple[str, int]:
    times = rng.choice((2, 3))
    word = {2: "as many {things} as {person} has", 3: "twice as many {things} as {person} has"}
    return f"A friend gives {{person}} {word[times]} at that moment.", value * times


GROWING: tuple[StoryStep, ...] = (_buys, _finds, _doubles)
STEPS: tuple[StoryStep, ...] = (*GROWING, _sells, _shares)


def dates(rng: random.Random, difficulty: int) -> tuple[str, str]:
    """Return a question about Gregorian dates; the span grows with the difficulty."""
    return rng.choice(DATE_QUESTIONS)(rng, difficulty)


def _span(rng: random.Random, difficulty: int) -> tuple[datetime.date, int, datetime.date]:
    days = rng.randint(*SPANS[difficulty])
    start = FIRST_DAY + datetime.timedelta(rng.randrange(DAYS - days))
    return start, days, start + datetime.timedelta(days)


def written(date: datetime.date) -> str:
    """Write a date as 3 March 2024, whatever the locale."""
    return f"{date.day} {MONTHS[date.month - 1]} {date.year}"


def _weekday(rng: random.Random, difficulty: int) -> tuple[str, str]:
    start, days, end = _span(rng, difficulty)
    return (
        f"{written(start)} is a {WEEKDAYS[start.weekday()]}. Which day of the week is the day that "
        f"comes {days} days later?"
    ), WEEKDAYS[end.weekday()]


def _weekday_of(rng: random.Random, difficulty: int) -> tuple[str, str]:
    start, _, end = _span(rng, difficulty)
    return (
        f"In the Gregorian calendar {written(start)} is a {WEEKDAYS[start.weekday()]}. Which day "
        f"of the week is {written(end)}?"
    ), WEEKDAYS[end.weekday()]


def _between(rng: random.Random, difficulty: int) -> tuple[str, str]:
    start, days, end = _span(rng, difficulty)
    return (
        f"How many days after {written(start)} is {written(end)} in the Gregorian calendar? (The "
        "day after a date is 1 day after it.)"
    ), str(days)


def _later(rng: random.Random, difficulty: int) -> tuple[str, str]:
    start, days, end = _span(rng, difficulty)
    return (
        f"Which date in the Gregorian calendar is {days} days after {written(start)}? Give it as "
        "YYYY-MM-DD."
    ), end.isoformat()


def _leap_years(rng: random.Random, difficulty: int) -> tuple[str, str]:
    first = rng.randint(1580 + 10 * difficulty, 1990)
    last = first + rng.randint(10, 90) * difficulty
    return (
        f"How many leap years of the Gregorian calendar are there from {first} to {last}, both "
        "years included?"
    ), str(calendar.leapdays(first, last + 1))


DATE_QUESTIONS: tuple[Generator, ...] = (_weekday, _weekday_of, _between, _later, _leap_years)
