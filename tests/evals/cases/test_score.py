"""Awkward replies: the stated answer is extracted, and none is invented."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.cases.extract.numbers import read, same
from swarm_brain.evals.cases.score import Score, extract, score

AUTHORS = ("David Hume", "Immanuel Kant", "John Locke", "A. J. Ayer")
VIEWS = ("A good will", "Self-knowledge", "Knowledge", "None of the above")


def choice(choices: tuple[str, ...] = AUTHORS, answer: str = "B") -> Example:
    return Example(id="c", question="Who?", kind="choice", answer=answer, choices=choices)


def numeric(answer: str = "72") -> Example:
    return Example(id="n", question="How many?", kind="numeric", answer=answer)


def worded(answer: str) -> Example:
    return Example(id="t", question="What?", kind="text", answer=answer)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(b)", "B"),
        ("B.", "B"),
        ("B) Immanuel Kant", "B"),
        ("**B**", "B"),
        ("$\\boxed{B}$", "B"),
        ("\\boxed{\\text{B}}", "B"),
        ("\\boxed{\\textbf{(B)}}", "B"),
        ("Answer: B", "B"),
        ("Answer: (B) because the Critique is his.", "B"),
        ("**Answer:** B", "B"),
        ("**Answer**: B", "B"),
        ("**Answer: B**", "B"),
        ("**Final Answer:** **(B)** Immanuel Kant", "B"),
        ("### Final answer\n\nB", "B"),
        ("ANSWER - B", "B"),
        ("Answer B", "B"),
        ("Answer: option b", "B"),
        ("Answer: `B`", "B"),
        ('Answer: "B"', "B"),
        ("Answer：B", "B"),
        ("Answer:\n\n- B", "B"),
        ("Verdict: B", "B"),
        ("The draft is sound.\n**Verdict: B) Immanuel Kant**\nDissent: the answer is C", "B"),
        ("The answer is B.", "B"),
        ("So the correct answer is: (B).", "B"),
        ("Therefore, the answer would be B.", "B"),
        ("The best option is B, as A and C are empiricists.", "B"),
        ("Option C is wrong, so D", "D"),
        ("Answer: option C is wrong, so D", "D"),
        ("Answer: not C but D", "D"),
        ("Answer: B, not C", "B"),
        ("Answer: B (not A)", "B"),
        ("Answer: B; A and C are tempting", "B"),
        ("Answer: A and C are both wrong, so D", "D"),
        ("I rule out A and C. Hume came earlier. I would choose B.", "B"),
        ("Answer: A\n\nWait, I mixed up the Critiques. The answer is B.", "B"),
        ("At first the answer is C, it seems. On reflection the answer is A.", "A"),
        ("Answer: Immanuel Kant", "B"),
        ("Answer: It was Immanuel Kant, of course", "B"),
        ("Immanuel Kant.", "B"),
        ("The man who wrote it was **Immanuel Kant**, in 1781.", "B"),
        ("Answer: A. J. Ayer", "D"),
        ("Answer: D. A. J. Ayer", "D"),
        ("Answer: A because the others came later", "A"),
        ("Answer: A is correct.", "A"),
        ("B\n\nHume (A) and Locke (C) never wrote a Critique.", "B"),
        ("B) Immanuel Kant\nHe answered Hume, who woke him.", "B"),
        ("We weigh A and C.\nOption B is the correct answer.\nI hope this helps!", "B"),
        ("<think>The answer is C? No.</think>\nAnswer: B", "B"),
        ("Answer: B\n\nHad the question named the Essay, the answer would be C.", "B"),
        ("Answer: I think B", "B"),
        ("I'd go with B", "B"),
        ("The answer is clear: B.", "B"),
        ("**A)** Hume: no.\n**B)** Kant: yes.\n**C)** Locke: no.\n\n**B**", "B"),
        ("A is false. B is true. C is false. D is false.", "B"),
        ("It might seem A. In truth B fits.", "B"),
        ("A. J. Ayer", "D"),
        ("Answer: Immanuel Kant (B)", "B"),
        ("<answer>B</answer>", "B"),
        ('{"answer": "B"}', "B"),
        ("The view that C. S. Peirce held is not listed. Answer: B", "B"),
    ],
)
def test_a_choice_is_found(reply, letter):
    assert extract(choice(), reply) == letter


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   \n",
        "A good question. I would need to think.",
        "I am not sure.",
        "Answer: A or B",
        "Answer: A/B",
        "Answer: B, C",
        "Answer: either B or C",
        "Answer: (A) and (B)",
        "Answer: both A and C",
        "Answer: <letter>",
        "Answer: I don't know",
        "Answer: E",
        "Answer: Plato",
        "Answer: B) David Hume",
        "Answer: David Hume (B)",
        "Answer: David Hume or Immanuel Kant",
        "\\boxed{A} or \\boxed{B}",
        "The answer is not B.",
        "The answer can't be B.",
        "Answer: A, B, C and D are all wrong",
        "Answer: B & C",
        "Answer: BC",
        "I am torn between B and C.",
        "A critic of Hume wrote it. I say no more.",
        "Kant, David Hume and John Locke all wrote on it.",
        "<think>Perhaps the answer is B, but",
        "I cannot help with that.",
        "The A-theory of time and vitamin-C are beside the point.",
    ],
)
def test_a_choice_is_not_made_up(reply):
    assert extract(choice(), reply) is None


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("Answer: A good will is the only thing good without limit", "A"),
        ("Answer: A", "A"),
        ("Answer: self-knowledge", "B"),
        ("Answer: knowledge", "C"),
        ("Answer: None of the above", "D"),
        ("A good will", "A"),
        ("Answer: B - Self-knowledge", "B"),
        ("Answer: A much-discussed matter: C", "C"),
    ],
)
def test_articles_and_texts_within_texts(reply, letter):
    assert extract(choice(VIEWS, "A"), reply) == letter


def test_the_pronoun_is_no_choice_among_ten():
    ten = choice(tuple(f"the thing {n}" for n in range(10)), "I")
    assert extract(ten, "Answer: I believe it is C") == "C"
    assert extract(ten, "Answer: I") == "I"
    assert extract(ten, "Answer: (I) the thing 8") == "I"


def test_choices_that_are_numbers():
    amounts = choice(("$500", "$1,000", "1/2", "50"), "B")
    assert extract(amounts, "Answer: 1000 dollars") == "B"
    assert extract(amounts, "Answer: $\\frac{1}{2}$") == "C"
    assert extract(amounts, "The total is \\boxed{50}") == "D"


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("72", "72"),
        ("72.", "72"),
        ("72.0", "72"),
        ("Answer: 72", "72"),
        ("Answer: $72", "72"),
        ("Answer: \\$72.00", "72"),
        ("Answer: 72 clips", "72"),
        ("Answer: **72** clips", "72"),
        ("Answer: 48 + 24 = 72 clips, since 24 is half of 48", "72"),
        ("Answer: 72 (48 + 24)", "72"),
        ("Answer: 72 clips in 2 months", "72"),
        ("#### 72", "72"),
        ("48/2 = <<48/2=24>>24\n48+24 = <<48+24=72>>72\n#### 72", "72"),
        ("The total is $\\boxed{72}$.", "72"),
        ("$$\n\\boxed{72\\text{ clips}}\n$$", "72"),
        ("Final answer:\n$$\n72\n$$", "72"),
        ("\\[ 48 + 24 = 72 \\]", "72"),
        ("She sold 48 + 24 = 72 clips. I hope this helps!", "72"),
        ("So in 2 months she sold **72** clips.", "72"),
        ("Altogether she sold seventy-two clips.", "72"),
        ("Answer: two hundred and five", "205"),
        ("Answer: 1,234", "1234"),
        ("Answer: 1{,}234", "1234"),
        ("Answer: $1\\,234$", "1234"),
        ("Answer: 1 234", "1234"),
        ("Answer: 12 000 people", "12000"),
        ("Answer: 1'234", "1234"),
        ("Answer: 1,00,000 rupees", "100000"),
        ("Answer: 1.234,56 €", "1234.56"),
        ("Answer: 3,5", "3.5"),
        ("Answer: -5", "-5"),
        ("Answer: −5", "-5"),
        ("Answer: minus 5", "-5"),
        ("Answer: -$5", "-5"),
        ("Answer: 1.2e5", "120000"),
        ("Answer: $1.2 \\times 10^{5}$", "120000"),
        ("Answer: 1.2 × 10⁵", "120000"),
        ("Answer: 2^{10}", "1024"),
        ("Answer: \\frac{1}{2}", "0.5"),
        ("Answer: $\\dfrac{1}{3}$", "1/3"),
        ("Answer: -\\frac12", "-0.5"),
        ("Answer: 3 1/2", "3.5"),
        ("Answer: 3½ hours", "3.5"),
        ("Answer: 50%", "50%"),
        ("Answer: 50\\%", "50%"),
        ("Answer: 50 percent", "50%"),
        ("Answer: 2.5 million", "2500000"),
        ("Answer: $5k", "5000"),
        ("Answer: 60 km/h", "60"),
        ("Answer: 12 m^2", "12"),
        ("Answer: 12 m²", "12"),
        ("Answer: x = 7", "7"),
        ("Answer: approximately 72", "72"),
        ("Answer: 70\nThat forgets May. The answer is 72.", "72"),
        ("Answer: 72\nVerdict: correct", "72"),
        ("Answer: 72 clips, which is 24 more than 48", "72"),
        ("Answer: USD 72", "72"),
        ("Answer: 72, not 71", "72"),
        ("Answer: not 71 but 72", "72"),
        ("Answer: seventy-two (72)", "72"),
        ("Answer: -(5)", "-5"),
        ("Answer: twenty-one thousand three hundred and five", "21305"),
        ("Answer: $\\frac{3}{4}\\%$", "0.75%"),
        ("**Step 1:** add.\nThe sum is **72**.", "72"),
    ],
)
def test_a_number_is_found(reply, number):
    assert extract(numeric(), reply) == number


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Answer: 71 or 72",
        "Answer: between 70 and 75",
        "Answer: 70-75",
        "Answer: 70–75",
        "Answer: x = 5 or x = -5",
        "Answer: 5 hours and 30 minutes",
        "Answer: 7:30",
        "Answer: 2\\sqrt{3}",
        "Answer: 5x",
        "Answer: 1, 2, 3",
        "Answer: <number>",
        "Answer: cannot be determined",
        "The answer is not 72.",
        "Answer: 4 - 2",
        "Answer: no one",
        "Answer: 7 2",
        "\\boxed{3} or \\boxed{4}",
        "After 3 days she had 72 clips and 2 boxes.",
        "**1. Add the clips**\n**2. Halve them**",
    ],
)
def test_a_number_is_not_made_up(reply):
    assert extract(numeric(), reply) is None


@pytest.mark.parametrize(
    ("key", "reply", "correct"),
    [
        ("0.5", "Answer: 50%", True),
        ("50", "Answer: 50%", True),
        ("50%", "Answer: 0.5", True),
        ("50", "Answer: 0.5", False),
        ("1/3", "Answer: 0.333", True),
        ("1/3", "Answer: 0.3", False),
        ("1/3", "Answer: 2/6", True),
        ("18.33", "Answer: 18.3", False),
        ("$1,200", "Answer: 1200", True),
        ("72", "Answer: -72", False),
        ("0", "Answer: zero", True),
        ("1e3", "Answer: 1,000.00", True),
    ],
)
def test_numbers_are_compared_by_value(key, reply, correct):
    assert score(numeric(key), reply).correct is correct


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Valid", "valid"),
        ("Answer: invalid", "invalid"),
        ("Answer: Not valid.", "invalid"),
        ("Answer: The argument is not logically valid", "invalid"),
        ("Answer: it isn't valid", "invalid"),
        ("Answer: not invalid", "valid"),
        ("Answer: **INVALID**, though a valid argument looks like it", "invalid"),
        ("Answer: valid (not invalid, as it may seem)", "valid"),
        ("**Verdict:** invalid", "invalid"),
        ("\\boxed{\\text{invalid}}", "invalid"),
        ("The argument is therefore invalid.", "invalid"),
        ("No model breaks it. Hence the argument is valid.", "valid"),
        ("Validity fails here: the argument is invalid.", "invalid"),
        ("If the premises were true it would be valid. It is invalid.", "invalid"),
        ("Answer: it fails to be valid", "invalid"),
        ("It would be wrong to call it valid.", "invalid"),
        ("The argument is not invalid; it is valid.", "valid"),
        ("Answer: neither valid nor invalid", None),
        ("Answer: valid or invalid", None),
        ("Answer: its validity is unclear", None),
        ("Answer: unknown", None),
    ],
)
def test_valid_and_invalid(reply, verdict):
    assert extract(worded("valid"), reply) == verdict


@pytest.mark.parametrize(
    ("key", "reply", "found"),
    [
        ("yes", "Yes.", "yes"),
        ("yes", "Answer: Yes, 2024 is a leap year", "yes"),
        ("yes", "Answer: No, it is not", "no"),
        ("yes", "Answer: There is no doubt: yes", "yes"),
        ("yes", "Answer: yes and no.", None),
        ("true", "The statement is not true.", "false"),
        ("true", "Answer: TRUE", "true"),
        ("wednesday", "Answer: It will be a Wednesday.", "wednesday"),
        ("Wednesday", "Answer: Wed.", "wednesday"),
        ("wednesday", "Answer: Wednesday, 6 March 2024", "wednesday"),
        ("wednesday", "Answer: Tuesday or Wednesday", None),
        ("wednesday", "It falls on a **Wednesday**.", "wednesday"),
        ("wednesday", "Answer: Sunday + 3 days = Wednesday", "wednesday"),
        ("wednesday", "Answer: not Tuesday but Wednesday", "wednesday"),
        ("wednesday", "1 March was a Friday. So it will be Wednesday.", "wednesday"),
    ],
)
def test_words_of_a_family(key, reply, found):
    assert extract(worded(key), reply) == found
    assert score(worded(key), reply).correct is (None if found is None else found == key.lower())


@pytest.mark.parametrize(
    ("reply", "date"),
    [
        ("2024-03-03", "2024-03-03"),
        ("Answer: 2024-03-03", "2024-03-03"),
        ("Answer: March 3, 2024", "2024-03-03"),
        ("Answer: 3 March 2024", "2024-03-03"),
        ("Answer: the 3rd of March, 2024", "2024-03-03"),
        ("Answer: Sunday, March 3rd, 2024", "2024-03-03"),
        ("Answer: Mar. 3, 2024", "2024-03-03"),
        ("Answer: 2024/3/3", "2024-03-03"),
        ("Answer: 3.3.2024", "2024-03-03"),
        ("Answer: 13/03/2024", "2024-03-13"),
        ("Answer: 03/04/2024", None),
        ("Answer: 2024-02-30", None),
        ("Answer: 2024-03-03 or 2024-03-04", None),
        ("Answer: March 3", None),
        ("Answer: 2024 March 3", "2024-03-03"),
        ("It is 2024-03-03 (62 days after 2024-01-01).", "2024-03-03"),
        ("That day is **March 3, 2024**.", "2024-03-03"),
    ],
)
def test_dates(reply, date):
    assert extract(worded("2024-03-03"), reply) == date


@pytest.mark.parametrize(
    ("key", "reply", "correct"),
    [
        ("Paris", "Paris", True),
        ("Paris", "Answer: Paris, the capital of France", True),
        ("Paris", "Answer: It is Paris.", True),
        ("Paris", "The capital is **Paris**.", True),
        ("Paris", "Answer: \\text{Paris}", True),
        ("Paris", "Answer: Lyon", False),
        ("Paris", "Answer: Paris or Lyon", None),
        ("Paris", "It may well be that Paris, among all towns, is meant.", None),
        ("Paris", "Answer: <your answer>", None),
        ("the Republic", "Answer: *Republic*", True),
        ("Kurt Gödel", "Answer: Kurt Godel", True),
        ("Either/Or", "Answer: Either/Or", True),
        ("J. S. Mill", "Answer: J. S. Mill", True),
        ("Washington, D.C.", "Answer: Washington, D.C.", True),
    ],
)
def test_texts_are_compared_without_trimmings(key, reply, correct):
    assert score(worded(key), reply).correct is correct


def test_a_failure_is_neither_right_nor_wrong():
    assert score(choice(), "Answer: A or B") == Score(None, None)
    assert score(choice(), "Answer: C") == Score("C", False)
    assert score(choice(), "Answer: B") == Score("B", True)


def test_an_open_question_has_no_score():
    assert score(Example(id="o", question="Why?", kind="open"), "Answer: B") == Score(None, None)


@given(st.text(max_size=300))
def test_no_text_breaks_it(text):
    for example in (choice(), numeric(), worded("valid"), worded("2024-03-03"), worded("Paris")):
        result = score(example, text)
        assert (result.extracted is None) == (result.correct is None)


@pytest.mark.parametrize(
    "text",
    ["Answer: " + "1," * 20_000, "**" * 20_000, "A, " * 15_000, "$" * 40_000, "not " * 10_000,
     "\\frac{" * 8_000, "answer is " * 5_000, "the answer\n" * 4_000, "\\boxed{A} or " * 3_000],
    ids=range(9),
)  # fmt: skip
def test_long_replies_cost_no_time(text):
    start = time.process_time()
    for example in (choice(), numeric(), worded("valid")):
        score(example, text)
    assert time.process_time() - start < 3


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "${:,}", "{}.00", "**{}**"]))
def test_an_integer_survives_its_forms(value, form):
    assert score(numeric(str(value)), f"Answer: {form.format(value)}").correct is True
    assert same(read(str(value)), read(f"{value:,}"))
