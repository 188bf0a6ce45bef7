"""Which tables tell of audit entries that somebody removed: all of them, or there is a reason why one can't."""

from __future__ import annotations

from flyball.operations.audit_trail import list_witnesses
from flyball.operations.migrations.draft import load_tables

NO_WITNESSES = {
    "audit_entries": "the trail itself",
    "audit_chain": "the trail itself",
    "events": "compared with the entries one by one",
    "request_keys": "compared by the numbers of entries",
    "event_consumers": "compared by the numbers of entries",
    "aliases": "changed in place; alias_history has every move",
    "incident_entries": "notes and answers to what has entries of its own",
    "log_counts": "counts of the log, made again from it",
    "model_clocks": "changed in place by the log",
    "segments": "the book of the log, which has no entries",
    "rollouts": "wait for approvals before their first entry; deployments and evidence are witnesses",
    "run_steps": "changed in place while a run goes on; runs are witnesses",
    "signals": "belong to an incident, which is a witness",
    "step_cache": "made again by the next run",
    "windows": "replaced when a window is judged again",
    "watch_starts": "where watching began, by the log",
    "executors": "live as long as their processes, or a month",
    "leases": "changed in place by their holders",
}


def test_each_table_is_a_witness_of_the_audit_trail_or_has_its_reason_not_to_be():
    witnesses = {witness.table.name for witness in list_witnesses()}
    tables = {name for name in load_tables() if not name.startswith("test_")}
    assert not witnesses & set(NO_WITNESSES)
    assert witnesses | set(NO_WITNESSES) == tables
