"""What a model says must not command the terminal."""

from swarm_brain.cli.terminal.text import printable


def test_control_characters_are_dropped_and_the_rest_is_kept():
    assert printable("a\x1b]0;owned\x07b\x9b2Jc\r\n\td é 漢 🙂") == "a]0;ownedb2Jc\n\td é 漢 🙂"
