"""The primary dies, and its synchronous standby takes over."""
import pytest

from clients import Clients, total
from lib.standby import Pair

fault = pytest.mark.fault


@pytest.fixture()
def pair(scratch):
    p = Pair(scratch)
    yield p
    p.end()


def primary_killed(s, pair, outage):
    workers = s.workers()
    with Clients(s) as c:
        c.strike()
        pair.primary.kill()
        c.suffer(outage)
        c.served_from_the_cache()
        pair.take_over()
        c.heal()
    assert s.workers() == workers
    return c.account()


PROMISE = ("Keys in the cache verify, all else is 503 while there is no "
           "primary; what was acknowledged is on the new one")


@fault("The primary killed, its standby promoted", PROMISE)
def test_primary_killed(pair, site, record):
    record(primary_killed(site(pair), pair, 1))


@pytest.mark.long
@fault("The primary killed, and so on, seven times, for up to 20 s", PROMISE)
def test_primary_killed_again_and_again(pair, site, record):
    """The dead one comes back as the standby of the other."""
    s = site(pair, workers=4)
    figures = []
    for outage in (1, 1, 1, 2, 5, 20, 1):
        figures.append(primary_killed(s, pair, outage))
        pair.repair()
    record(total(figures))


READS = "Writes are 503; whatever reads goes on, each worker on its connection"


def standby_away(s, pair, record, seconds):
    with Clients(s) as c:
        losses = len(s.log_lines("database_lost"))
        c.strike()
        pair.standby.hang()
        try:
            c.suffer(seconds)
            c.some("register", 503)
            c.some("write", 503)
            c.only("warm", 200)
            c.only("gate", 204)
            c.only("read", 200)
            c.only("stranger", 401)
        finally:
            pair.standby.go_on()
        c.heal()
        assert len(s.log_lines("database_lost")) == losses
        assert s.log_lines("commit_not_replicated")
    record(c.account())


@fault("The only synchronous standby paused", READS)
def test_standby_away(pair, site, record):
    standby_away(site(pair, workers=3), pair, record, 5)


@pytest.mark.long
@fault("The only synchronous standby paused for half a minute", READS)
def test_standby_away_long(pair, site, record):
    standby_away(site(pair, workers=3), pair, record, 30)
