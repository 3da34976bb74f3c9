"""Limits that several processes keep together: in a file, and in a real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.postgres import Cluster
from tests.integration.processes import REPO, plain_environment

# Reserves and settles as often as it may; says what it got: calls, and requests of a minute.
SPENDER = """
import time
from swarm_brain.graph.errors import ModelError
from swarm_brain.spending import quota
from swarm_brain.spending.ledger import Amount
from swarm_brain.server.admission import arrive
paid = came = 0
for _ in range(40):
    try:
        booking = quota.reserve("ada", Amount(10, 0.25))
        quota.settle(booking, Amount(5, 0.125))
        paid += 1
    except ModelError as error:
        assert error.kind == "budget", error
    came += arrive("ada", 25, time.time()) == 0
print(paid, came)
"""
KEYS = f'[keys.ada]\nsha256 = "{"0" * 64}"\ndaily_usd = 5.0\ndaily_tokens = 10000\n'


@pytest.mark.parametrize("place", ["file", "postgres"])
def test_processes_together_take_no_more_than_there_is(place, tmp_path: Path, request):
    """Five dollars pay for 39 calls of an eighth: the last reservations want a quarter."""
    (tmp_path / "swarm-brain.toml").write_text(KEYS)
    environment = plain_environment(tmp_path, PYTHONPATH=str(REPO))
    if place == "postgres":
        server: Cluster = request.getfixturevalue("postgres")
        environment["SWARM_BRAIN_DATABASE_URL"] = server.url(server.create())
    spenders = [
        subprocess.Popen(
            (sys.executable, "-c", SPENDER),
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = [spender.communicate(timeout=60) for spender in spenders]
    assert [spender.returncode for spender in spenders] == [0] * 3, told
    paid, came = (sum(int(out.split()[n]) for out, _ in told) for n in (0, 1))
    assert 37 <= paid <= 39  # one that another's open reservation kept out has not come again
    assert came == 25
