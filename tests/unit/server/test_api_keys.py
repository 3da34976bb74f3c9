"""Whose key it is; making one; taking one away."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_brain.cli import new_key as keys
from swarm_brain.config import VARIABLES, config_file
from swarm_brain.graph.errors import ConfigError
from swarm_brain.server import api_keys
from swarm_brain.server.api_keys import LOCAL, Owner, identify, identify_caller, new_key
from swarm_brain.server.problems import Problem
from swarm_brain.validation import is_loopback


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No variable of ours is set and no swarm-brain.toml is found."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def table(name: str, key: str, more: str = "") -> str:
    return f'[keys.{name}]\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n{more}\n'


@pytest.fixture
def two() -> None:
    """Ada with limits, and Bob."""
    limits = "daily_usd = 2.5\ndaily_tokens = 1000\nrequests_per_minute = 6\nconcurrency = 2"
    Path("swarm-brain.toml").write_text(table("ada", "sb-a", limits) + table("Bob_1", "sb-b"))


def test_without_keys_everybody_is_local():
    assert identify(None) is identify("Bearer x") is identify(None, "x") is LOCAL
    assert LOCAL.user is None


@pytest.mark.parametrize(
    "header", ["Bearer sb-a", "bearer sb-a", "BEARER  sb-a ", "\tbEaReR\tsb-a"]
)
def test_a_key_names_its_owner(two, header):
    assert identify(header) == Owner("ada", 2.5, 1000, 6, 2)
    assert identify(None, "sb-b") == identify("", " sb-b\n") == Owner("Bob_1")
    assert identify("Bearer sb-b").user == api_keys.User("Bob_1")
    assert list(api_keys.owners()) == ["ada", "Bob_1"]


@pytest.mark.parametrize(
    "header", [None, "", "sb-a", "Basic sb-a", "Bearer", "Bearer ", "Bearer a b"]
)
def test_no_key_is_told_apart_from_a_wrong_one(two, header):
    with pytest.raises(Problem, match="missing") as caught:
        identify(header)
    assert (caught.value.status, caught.value.code) == (401, "missing_api_key")
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


@settings(deadline=None)
@given(
    st.text(min_size=1).filter(lambda text: text.strip() and text.strip() not in ("sb-a", "sb-b"))
)
def test_no_other_text_is_a_key(text):
    known = {
        "ada": hashlib.sha256(b"sb-a").hexdigest(),
        "Bob_1": hashlib.sha256(b"sb-b").hexdigest(),
    }
    entries = {name: api_keys.KeySettings(sha256=digest) for name, digest in known.items()}
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    assert api_keys._name_of(digest, entries) is None


def test_a_wrong_key_is_never_quoted(two):
    for wrong in ("sb-canary-123", "sb-a\0", "sb-\udcff", hashlib.sha256(b"sb-a").hexdigest()):
        with pytest.raises(Problem) as caught:
            identify(f"Bearer {wrong}")
        assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
        assert wrong not in str(caught.value)


def test_all_digests_are_compared_in_constant_time(two, monkeypatch):
    compared = []
    monkeypatch.setattr(
        api_keys.hmac, "compare_digest", lambda one, two: compared.append(one) or one == two
    )
    assert identify("Bearer sb-a").name == "ada"
    assert len(compared) == 2  # the first is the right one, and the other is compared nevertheless


def test_a_key_is_taken_away_while_the_server_runs(two):
    assert identify("Bearer sb-a").name == "ada"
    Path("swarm-brain.toml").write_text(table("Bob_1", "sb-b"))
    with pytest.raises(Problem):
        identify("Bearer sb-a")
    assert identify("Bearer sb-b").name == "Bob_1"


def test_a_file_that_cannot_be_read_lets_nobody_in(two, caplog):
    Path("swarm-brain.toml").write_text("[keys")
    with pytest.raises(Problem) as caught:
        identify("Bearer sb-a")
    assert (caught.value.status, caught.value.code) == (503, "misconfigured")
    assert "not TOML" in caplog.text
    assert "TOML" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("10.0.0.1", False), ("0.0.0.0", False), ("::", False), ("::ffff:10.0.0.1", False),
     ("fe80::1%eth0", False), ("localhost", False), ("", False), (None, False)],
)  # fmt: skip
def test_without_keys_only_this_machine_is_answered(host, own, monkeypatch):
    assert is_loopback(host) is own
    if own:
        assert identify_caller({}, host) is LOCAL
        return
    with pytest.raises(Problem, match="--new-key") as caught:
        identify_caller({"authorization": "Bearer x"}, host)
    assert caught.value.status == 403
    monkeypatch.setenv("SWARM_BRAIN_OPEN", "True")
    assert identify_caller({}, host) is LOCAL
    assert LOCAL.user == api_keys.User("(local)", is_authenticated=False)


@pytest.mark.parametrize("header", api_keys.FORWARDED)
def test_a_proxy_on_this_machine_does_not_make_the_world_local(header):
    with pytest.raises(Problem):
        identify_caller({header: "127.0.0.1"}, "127.0.0.1")


OTHERS: list[dict[str, str]] = [
    {"host": "evil.example"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "localhost:2024", "origin": "https://evil.example"},
    {"host": "localhost:2024", "origin": "null"},
    {"host": "localhost:2024", "origin": "http://[::1"},
    {"host": "evil.example", "origin": "https://smith.langchain.com"},
]
OWN: list[dict[str, str]] = [
    {},
    {"host": "[::1]:2024", "origin": "http://[::1]:2024"},
    {"host": "127.0.0.1:2024", "origin": "http://localhost:3000"},
    {"host": "localhost:2024", "origin": "https://smith.langchain.com"},
]


@pytest.mark.parametrize("headers", OWN)
def test_pages_of_this_machine_and_studio_ask_in_the_local_users_name(headers):
    assert identify_caller(headers, "127.0.0.1") is LOCAL


@pytest.mark.parametrize("headers", OTHERS)
def test_no_page_of_elsewhere_does(headers):
    with pytest.raises(Problem) as refused:
        identify_caller(headers, "127.0.0.1")
    assert (refused.value.status, refused.value.code) == (403, "host")


def test_studio_is_what_langgraph_json_says():
    told = json.loads((Path(__file__).parents[3] / "langgraph.json").read_text(encoding="utf-8"))
    assert tuple(told["http"]["cors"]["allow_origins"]) == api_keys.STUDIO


def test_with_keys_the_address_does_not_matter(two):
    assert identify_caller({"authorization": "Bearer sb-a"}, "10.0.0.1").name == "ada"
    assert identify_caller({"x-api-key": "sb-b"}, None).name == "Bob_1"
    with pytest.raises(Problem):
        identify_caller({}, "127.0.0.1")


# ---- new keys


def made(capsys, name: str) -> tuple[str, str]:
    keys.make_key(name)
    return capsys.readouterr()


def test_a_new_key_makes_the_file_and_is_shown_once(capsys, tmp_path):
    out, told = made(capsys, "ada")
    path = tmp_path / "config" / "swarm-brain" / "swarm-brain.toml"
    assert config_file() == path
    assert path.stat().st_mode & 0o777 == 0o600
    key = out.strip()
    assert re.fullmatch(r"sb-[\w-]{43}", key)
    assert key not in path.read_text() + told
    assert identify(f"Bearer {key}").name == "ada"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("before", [b"", b"# mine\r\n", b"[prices]", "# ä\n\n".encode()])
def test_the_rest_of_the_file_stays_byte_for_byte(capsys, before):
    path = Path("swarm-brain.toml")
    path.write_bytes(before)
    path.chmod(0o640)
    out, _ = made(capsys, "ada")
    made(capsys, "bob")
    assert path.read_bytes().startswith(before)
    assert list(tomllib.loads(path.read_text())["keys"]) == ["ada", "bob"]
    assert path.stat().st_mode & 0o777 == (0o640 if before else 0o600)
    assert identify(None, out.strip()).name == "ada"


def test_a_link_stays_a_link(capsys, tmp_path):
    real = tmp_path / "real.toml"
    real.write_text("")
    Path("swarm-brain.toml").symlink_to(real)
    made(capsys, "ada")
    assert Path("swarm-brain.toml").is_symlink()
    assert "[keys.ada]" in real.read_text()


@pytest.mark.parametrize("name", ["", "a b", "ä", "a.b", "x" * 65, "a\n", "../x", "(local)"])
def test_names_that_cannot_be(capsys, name):
    with pytest.raises(ConfigError, match="A key's name"):
        new_key(name)


def test_a_name_is_given_once(two):
    before = Path("swarm-brain.toml").read_bytes()
    with pytest.raises(ConfigError, match="ada already"):
        keys.make_key("ada")
    assert Path("swarm-brain.toml").read_bytes() == before


def test_a_file_that_would_not_be_read_any_more_is_left_alone(capsys):
    path = Path("swarm-brain.toml")
    path.write_text("keys = {}\n")
    with pytest.raises(ConfigError, match="not TOML"):
        keys.make_key("ada")
    assert path.read_text() == "keys = {}\n"
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_written_is_no_reason_to_lose_the_key(capsys, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(keys.tempfile, "mkstemp", refused)
    out, told = made(capsys, "ada")
    assert "Permission denied" in told
    assert "cannot be written" in told
    (block,) = re.findall(r"\[keys\.ada\]\nsha256 = \"[0-9a-f]{64}\"\n", told)
    Path("swarm-brain.toml").write_text(block)
    assert identify(f"Bearer {out.strip()}").name == "ada"
