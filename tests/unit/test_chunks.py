"""The words of a streamed answer, however they are cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_brain.models.call import _THINKING, writable
from swarm_brain.server.chunks import Answer
from swarm_brain.server.completion import first_stop

PIECES = st.lists(
    st.sampled_from(
        ["a", "b", " ", "\n", "END", "E", "ND", "<th", "ink>", "</think>", "\ud83d", "\ude00", "\0"]
    ),
    max_size=12,
)


def final_of(raw: str, stops: tuple[str, ...]) -> str:
    """The answer as it stands in the result, ended as a whole reply is."""
    text = writable(_THINKING.sub("", raw)).strip()
    at = first_stop(text, stops)
    return text if at is None else text[:at].rstrip()


@given(PIECES, st.sampled_from([(), ("END",), ("ND", "a b")]))
def test_what_goes_out_in_pieces_is_the_answer(pieces, stops):
    raw = "".join(pieces)
    if "</think>" in raw and not raw.lstrip().startswith("<think>"):
        return  # an answer that was begun as a thought is withdrawn
    answer, final = Answer(stops), final_of(raw, stops)
    sent = "".join([answer.take(piece) for piece in pieces])
    assert sent + answer.end(final) == final


@pytest.mark.parametrize("around", ["```json\n{}\n```", "Here it is: {}", "{}"])
def test_json_is_taken_out_of_what_stands_around_it(around):
    formed = '{"city": "Łódź"}'
    answer = Answer((), formed=True)
    sent = "".join([answer.take(letter) for letter in around.replace("{}", formed)])
    assert sent + answer.end(formed) == formed
    assert bool(sent) == (around == "{}")
