"""Estimate the effort that a question needs, without a model call. Pure.

A question is `low` if it looks up one settled thing, and `high` otherwise. In doubt it is `high`: a
look-up asked of eight experts wastes tokens, but a hard question asked of three loses the answer.
The rules read the request itself, after removing politeness and the story around it.
Measured by `python -m evals.effort` on labelled questions.
"""

from __future__ import annotations

import re

from swarm_brain.graph.state import Effort

_POLITE = re.compile(
    r"^\W*((hi|hello|hey|dear|good (morning|afternoon|evening|day)|thanks( in advance| a lot)?|"
    r"thank you|please|sorry\b.{0,80}?\bbut|excuse me|quick (question|one)|ok|okay|so|just|well)\b"
    r"[\s,!.:;-]*"
    r"|(i('d| would) (like|love) (to know|you to)|i (want|need)( to know)?|do you know|"
    r"(can|could|would|will) (you|someone|anybody|anyone)( please| kindly| quickly)*"
    r"( (tell|remind|give|help) me( with| out)?)?|tell me|remind me|i was wondering)\b[\s,:-]*)",
    re.I,
)
# "In Python, which ..." and "If a ticket costs 9 euros, what ...": a setting of the scene.
_SCENE = re.compile(r"^((in|on|for|with|under) [^,]{1,30}|if( \S+){2,6}), (?=\w)", re.I)
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|`[^`]*`")
_SENTENCE = re.compile(r"[.!?;](?:\s+|$)|\s:\s|:\s|\n+")

# What makes a request hard wherever it stands in it.
_HARD = re.compile(
    r"\b(why|nature of|meaning of (life|existence|being)|compar(e|ing|ison)|contrast|versus|vs|"
    r"evaluat\w*|assess|critic\w+|analy[sz]e|argu(e|ment)\w*|discuss|debate|justif\w*|explain|"
    r"prove|proof|derive|design|plan|propose|suggest|recommend\w*|advi[cs]e|strateg\w*|decid\w*|"
    r"refactor|debug|optimi[sz]e|implement|improve|invent\w*|imagine|suppose|what if|"
    r"would\b.*\bif|if\b.*\bwould|should|ought|must we|moral\w*|ethic\w*|right to|wrong to|"
    r"just(ice|ified)|(un)?fair\w*|blame|responsib\w+|free will|conscious\w*|god|soul|paradox\w*|"
    r"really|truly|greater|better|worse|wiser|trade-?offs?|pros and cons|consequences|implications|"
    r"causes?|reasons?|effects? of|influence|impact|relationship between|difference between|differ|"
    r"walk (me|us) through|step by step|how (do|does|did|can|could|would|should|is|are)\b"
    r"(?! you (say|spell|write|pronounce|abbreviate|call)| (we|one) (say|spell)))\b"
    r"|^\W*\w+ or \w+\W*$|\b\w+ed or \w+ed\b",
    re.I,
)
# Requests for one settled thing. They are matched at the start of the request.
_UNIT = r"(what|which|who|whom|whose|when|where)"
_LOOKUP = re.compile(
    rf"((in|at|on|by|from|of|to|for|during|under|after) )?{_UNIT}('s|'re)?\b"
    r"|how (many|much|old|tall|long|far|deep|heavy|high|fast|big|large|wide|often|hot|cold)\b"
    r"|how (do|does|would) (you|we|one|i) (say|spell|write|pronounce|abbreviate|call)\b"
    r"|how is .{1,40} (spelled|spelt|pronounced|abbreviated|called)\b"
    r"|(define|name|spell|convert|translate|list|give( me)?|state|find|calculate|compute|solve|"
    r"add|subtract|multiply|divide|round|simplify)\b",
    re.I,
)
_NOUN_PHRASE = re.compile(
    r"(the )?(capital|definition|meaning|formula|symbol|translation|synonym|antonym|plural|"
    r"abbreviation|derivative|integral|square root|cube root|population|author|date|year|birthday|"
    r"boiling point|melting point|chemical \w+|past tense|opposite|name|number|default|syntax|"
    r"currency|height|length|distance|speed|age|area|value|acronym|http|status code|keyword)\b",
    re.I,
)
_DEFINITION = re.compile(
    r"(what (does|do) (?!it )[^,]{1,60} (mean|stand for)|define\b|what('s| is) (a|the) "
    r"(definition|meaning) of (?!life|existence|being|it all)|meaning of (?!life|existence))",
    re.I,
)
_ARITHMETIC = re.compile(
    r"^[\s\d.,+*/x×÷^%()=-]+$|^\W*[\d.,]+ (times|plus|minus|divided by)\b", re.I
)
_YES_NO = re.compile(r"(is|are|was|were|does|do|did|has|have|had|can|will|am)\b", re.I)
_OPEN_WHO = re.compile(
    r"(what|which|who|when|where)('s|'re)? (does it (mean|take) to|do we|would|could|should|might|"
    r"makes?|made a|is it (right|wrong|like|good|fair|ok)|is (the )?(point|best|right|truth|"
    r"reality|time|love|knowledge|good|evil|beauty|truth|justice|life|mind)\b(?! (zone|table))|"
    r"are the (main|key|best|limits|ways)|is (a |the )?(good|best|right)|follows)",
    re.I,
)
_FACTUAL_YES_NO_WORDS = 9
LAST_CHARACTERS = 4_000  # of a longer question; the request is at its end
_LONG_REQUEST = 22
_OPEN_YES_NO = re.compile(
    r"\b(real|exist|exists|think|alive|possible|know|feel|matter|choose|happy|happiness|worth\w*|"
    r"true|meaning|mean|evil|good|beaut\w+|love|mind|self|reality|illusion|objective|subjective)\b",
    re.I,
)
_REFERS_BACK = re.compile(r"\b(it|each|they|them|he|she|himself|herself|both|this|these)\b", re.I)
_NUMBERS = re.compile(
    r"\b\d+([.,]\d+)?\b|\b(two|three|four|five|six|seven|eight|nine|ten|twelve)\b"
)


def estimate(question: str) -> Effort:
    """Return `low` for definitions and look-ups, `high` for everything else."""
    request, story = _request(question[-LAST_CHARACTERS:])
    bare = _QUOTED.sub('""', request)
    words = len(bare.split())
    if words > _LONG_REQUEST or _QUOTED.sub("", question).count("?") > 1:
        return "high"
    if _ARITHMETIC.match(bare):
        return "low"
    if _parts(bare) > 1 or _word_problem(story, bare):
        return "high"
    if _DEFINITION.match(bare):
        return "low"
    if _HARD.search(bare) or _OPEN_WHO.match(bare):
        return "high"
    if _LOOKUP.match(bare) or _noun_phrase(bare):
        return "low"
    return "low" if _settled_yes_no(bare, words) else "high"


def _request(question: str) -> tuple[str, str]:
    """Return the sentence that asks, without politeness, and everything before it."""
    sentences = [part.strip() for part in _SENTENCE.split(question) if part and part.strip()]
    sentences = [part for part in map(_without_politeness, sentences) if part]
    if not sentences:
        return question.strip(), ""
    return sentences[-1], ". ".join(sentences[:-1])


def _without_politeness(text: str) -> str:
    while (cut := _POLITE.sub("", text, count=1).strip()) != text:
        text = cut
    return _SCENE.sub("", text, count=1)


def _parts(request: str) -> int:
    """Return the number of things that the question asks for."""
    joined = re.findall(
        rf"(?:(?:,|\band\b|\bor\b|,\s*and)\s+(?:{_UNIT}|how|why|whether)"
        r"|\band\s+(?:is|are|was|were|does|do|did|can))\b",
        request,
        re.I,
    )
    return 1 + len(joined)


def _word_problem(story: str, request: str) -> bool:
    """Return whether the request depends on numbers or persons named before it."""
    if len(_NUMBERS.findall(story)) >= 2 or (story and _REFERS_BACK.search(request)):
        return True
    return bool(
        re.search(r"\b(if|suppose|assume|given that|every|all|some|no|none)\b", story, re.I)
        and re.search(r"\b(who is|which one|what follows|does it follow|is it)\b", request, re.I)
    )


def _noun_phrase(request: str) -> bool:
    return bool(_NOUN_PHRASE.match(request)) or bool(
        re.search(r"(^| - |, )(literal )?(translation|meaning|definition)\b", request, re.I)
    )


def _settled_yes_no(request: str, words: int) -> bool:
    return (
        bool(_YES_NO.match(request))
        and words <= _FACTUAL_YES_NO_WORDS
        and not _OPEN_YES_NO.search(request)
    )
