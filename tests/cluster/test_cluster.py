"""What a cluster under Patroni does, and clients of Postern see of it, by each
way to the primary. What Patroni decides is Patroni's; ours is that nothing
acknowledged is lost, nobody wrong is let in, and all is well soon after."""
import os
import signal

import pytest

from lib.process import wait_until
from members import LONG, TIMES, send
from traffic import Course, Mix
from ways import CACHE_TTL

fault = pytest.mark.fault
WARM = ("Keys in the cache verify throughout; all else is 503 until there is "
        "another primary")
FENCED = WARM + ", which is not before the watchdog has reset this one"


def served_from_the_cache(c):
    for mix in c.mixes.values():
        assert mix.statuses("warm") == {200}, mix.statuses("warm")
        assert mix.statuses("gate") == {204}, mix.statuses("gate")


def replaced(c, sync):
    """The synchronous standby leads, and nobody else may."""
    c.taken_over()
    c.heal()
    served_from_the_cache(c)
    assert c.cluster.leader() is sync
    return c.account()


@fault("Switchover", WARM)
def test_switchover(site, record):
    with Course(site) as c:
        leader, sync, _ = site.cluster.roles()
        c.strike()
        c.operate()
        status, text = leader.ask("POST", "/switchover", {
            "leader": leader.name, "candidate": sync.name}, timeout=LONG)
        assert status == 200, text
        record(replaced(c, sync))


@fault("The primary's Postgres killed (SIGKILL)", WARM)
def test_primary_killed(site, record):
    with Course(site) as c:
        leader, sync, _ = site.cluster.roles()
        c.strike()
        leader.kill_postgres()
        c.operate()
        record(replaced(c, sync))


@pytest.mark.long
@fault("The primary's host killed: Postgres and Patroni (SIGKILL)", WARM)
def test_host_killed(site, record):
    with Course(site) as c:
        leader, sync, _ = site.cluster.roles()
        c.strike()
        leader.power_off()
        c.operate()
        record(replaced(c, sync))


@pytest.mark.long
@fault("The primary's host frozen: Postgres and Patroni (SIGSTOP)", FENCED)
def test_host_frozen(site, record):
    with Course(site) as c:
        leader, sync, _ = site.cluster.roles()
        resets = len(leader.resets)
        c.strike()
        leader.freeze()
        c.operate()
        figures = replaced(c, sync)
        reset_s = leader.resets[resets] - c.struck
        assert reset_s < c.took
        record({**figures, "reset_s": reset_s})


@pytest.mark.long
@fault("The same without the watchdog; it goes on when another leads",
       "None: whether it gives way is Patroni's doing")
def test_host_frozen_unfenced(unfenced, record):
    cluster, nodes = unfenced.cluster, unfenced.nodes.values()
    with Course(unfenced) as c:
        leader = cluster.leader()
        c.strike()
        pids = leader.freeze()
        try:
            c.operate()
            c.taken_over()
            wait_until("writes", lambda: c.changes.rotated, LONG)
            c.suffer(10)
        finally:
            send(signal.SIGCONT, pids)
        c.suffer(10)
        cluster.whole()
        c.over()
        for node in nodes:
            if node.get("/readyz").status != 200:
                node.reload()
        for node in nodes:
            wait_until("ready", lambda n=node:
                       n.get("/readyz").status == 200, LONG)
            wait_until("all connected", node.all_connected, LONG)
    record(c.account(Mix.figures))


@pytest.mark.long
@fault("The primary's Patroni killed (SIGKILL), its Postgres goes on", FENCED)
def test_agent_killed(site, record):
    """Who is connected to it stays so until the reset; HAProxy asks Patroni,
    and has no primary from the start."""
    with Course(site) as c:
        leader, sync, _ = site.cluster.roles()
        resets = len(leader.resets)
        c.strike()
        os.kill(leader.process.pid, signal.SIGKILL)
        c.operate()
        figures = replaced(c, sync)
        reset_s = leader.resets[resets] - c.struck
        assert reset_s < c.took
        early = [a for a in c.mixes["direct"].asked if not a.normal
                 and c.struck < a.end < leader.resets[resets]]
        assert early == [], early[:5]
        record({**figures, "reset_s": reset_s})


@pytest.mark.long
@fault("The same without the watchdog, until Patroni is started again; the "
       "operator's changes on the new primary",
       "None: two primaries. A node that stays with the old one lets in what "
       "it has not heard to be revoked")
def test_agent_killed_unfenced(unfenced, record):
    cluster, nodes = unfenced.cluster, unfenced.nodes
    with Course(unfenced) as c:
        leader = cluster.leader()
        c.strike()
        leader.process.kill()
        c.taken_over()
        c.changes.nodes = {"HAProxy": nodes["HAProxy"]}
        c.operate()
        wait_until("changes", lambda: c.changes.rotated, LONG)
        c.suffer(CACHE_TTL + 10)
        c.over()
        leader.process.wait()
        leader.boot()
        cluster.whole()
        c.heal()
    record(c.account(Mix.figures))


def etcd_away(site, seconds):
    with Course(site) as c:
        leader, *_ = site.cluster.roles()
        resets = len(leader.resets)
        c.strike()
        site.cluster.etcd.kill()
        c.operate()
        c.suffer(seconds)
        site.cluster.etcd.start()
        c.heal()
    assert len(leader.resets) == resets
    return c


@pytest.mark.long
@fault("etcd away for half a minute", "Nothing, by Patroni's `failsafe_mode`, "
       "as long as the primary reaches both others")
def test_etcd_away(site, record):
    c = etcd_away(site, 30)
    assert c.took is None
    record(c.account())


@pytest.mark.long
@fault("etcd away for half a minute, without `failsafe_mode`",
       "Patroni makes the primary read only: as when there is none, until "
       "etcd is back")
def test_etcd_away_no_failsafe(site, record):
    site.cluster.edit(failsafe_mode=False)
    try:
        record(etcd_away(site, TIMES["ttl"] + 10).account())
    finally:
        site.cluster.edit(failsafe_mode=True)


@pytest.mark.long
@fault("Both standbys' hosts killed, and started again",
       "Writes are 503, by strict synchronous mode; whatever reads goes on")
def test_standbys_away(site, record):
    with Course(site) as c:
        _, *standbys = site.cluster.roles()
        c.strike()
        for m in standbys:
            m.power_off()
        c.operate()
        c.suffer(10)
        for mix in c.mixes.values():
            mix.some("register", 503)
            mix.only("read", 200)
        served_from_the_cache(c)
        c.over()
        for m in standbys:
            m.boot()
        c.heal()
        assert c.took is None
    record(c.account())


@pytest.mark.long
@fault("The primary's Postgres killed, while one standby lags and the "
       "synchronous one has all and has replayed none of the last",
       WARM + ", which has replayed all; the one that lags is not promoted")
def test_lagging(site, record):
    with Course(site) as c:
        site.cluster.whole()
        leader, sync, other = site.cluster.roles()
        frozen = [sync.process_named("startup"),
                  other.process_named("walreceiver")]
        send(signal.SIGSTOP, frozen)
        try:
            wait_until("they lag", lambda: leader.sql(
                "SELECT min(pg_current_wal_lsn() - replay_lsn) > 100000"
                " FROM pg_stat_replication") == [(True,)], LONG)
            c.strike()
            leader.kill_postgres()
            c.operate()
        finally:
            send(signal.SIGCONT, frozen)
        record(replaced(c, sync))


@pytest.mark.long
@fault("All three hosts shut down, the primary last, and started again",
       "As when there is none, until there is one")
def test_all_stopped(site, record):
    with Course(site) as c:
        leader, sync, other = site.cluster.roles()
        c.strike()
        for m in (other, sync, leader):
            m.shut_down()
        c.operate()
        c.over()
        for m in (other, sync, leader):
            m.boot()
        c.heal()
    record(c.account())
