"""Back to a point in time under Patroni, as docs/operating.md has it: another
scope, made from a base backup and the archive. Postern is never restarted."""
import shutil
import subprocess
import time

import pytest
import yaml

from lib.process import demoted, wait_until
from members import LONG, PASSWORDS, bin_dir


def base_backup(leader, directory):
    subprocess.run(
        [bin_dir() / "pg_basebackup", "-D", directory, "-X", "none", "-c",
         "fast", "--no-sync", "-h", "127.0.0.1", "-p", str(leader.port), "-U",
         "replicator"], check=True, timeout=LONG, cwd="/",
        env={"PGPASSWORD": PASSWORDS["replicator"]}, preexec_fn=demoted())


def renew(member, base, archive, at):
    """Its configuration names another cluster; its data is put aside."""
    c = yaml.safe_load(member.config.read_text())
    c["scope"] = "postern-restored"
    c["bootstrap"].update(method="pitr", pitr={
        "command": f"cp -a {base} {member.data}", "no_params": True,
        "recovery_conf": {
            "restore_command": f"cp {archive}/%f %p",
            "recovery_target_time": at, "recovery_target_action": "promote",
            "recovery_target_timeline": "latest"}})
    member.config.write_text(yaml.safe_dump(c))
    shutil.move(member.data, member.dir / "aside")


@pytest.mark.long
def test_point_in_time(site):
    cluster = site.cluster
    node = site.nodes["direct"]
    base, archive = (cluster.scratch.dir() for _ in range(2))
    leader = cluster.leader()
    cluster.edit(postgresql={"parameters": {
        "archive_mode": "on", "archive_command": f"cp %p {archive}/%f"}})
    for m in cluster.members:
        wait_until("the change has come", lambda m=m: "pending_restart" in
                   m.ask("GET", "/patroni")[1], LONG)
        assert m.ask("POST", "/restart", {}, timeout=LONG)[0] == 200
    cluster.whole()
    leader = cluster.leader()
    base_backup(leader, base / "data")
    wait_until("ready", lambda: node.get("/readyz").status == 200, LONG)
    kept = node.register()
    at = str(leader.sql("SELECT clock_timestamp()")[0][0])
    time.sleep(0.1)
    lost = node.register()
    node.becomes(lost, 200)
    leader.sql("SELECT pg_switch_wal()")
    wait_until("all archived", lambda: leader.sql(
        "SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1)"
        " FROM pg_stat_archiver") == [(True,)], LONG)

    for m in reversed(cluster.roles()):
        m.shut_down()
    first, *others = cluster.members
    for m in cluster.members:
        renew(m, base / "data", archive, at)
    first.boot()
    wait_until("restored", first.leads, LONG)
    for m in others:
        m.boot()
    cluster.whole()
    for node in site.nodes.values():
        wait_until("ready", lambda n=node: n.get("/readyz").status == 200,
                   LONG)
        wait_until("all connected", node.all_connected, LONG)
        node.becomes(kept, 200)
        node.becomes(lost, 401)
