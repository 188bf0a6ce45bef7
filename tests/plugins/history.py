"""The history checker: clients write down what they asked and were told; afterwards nothing may contradict it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

MODEL = "plant"


class Act(NamedTuple):
    """One request. status: of its answer, 0 when there was none and nobody knows what became of it.

    asked: the id that the client chose for a prediction, the prediction that an outcome is about, the key of a change.
    """

    operation: str
    asked: str
    begun: float
    ended: float
    status: int
    answer: Any


class Journal:
    """What all clients asked and were told."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self._lock = threading.Lock()

    def write(self, operation: str, asked: str, begun: float, status: int, answer: Any) -> None:
        with self._lock:
            self.acts.append(Act(operation, asked, begun, time.monotonic(), status, answer))

    def told(self, operation: str, status: int = 200) -> list[Act]:
        """Requests that were answered so."""
        return [act for act in self.acts if act.operation == operation and act.status == status]

    def since(self, moment: float, operation: str, status: int) -> list[Act]:
        """Requests of a kind that were begun after a moment and answered so."""
        return [act for act in self.told(operation, status) if act.begun > moment]


class Clients:
    """Threads that ask until they are stopped: `predicting` for predictions, some with outcomes; `changing`, one that
    moves the champion back and forth. What is not answered is asked again under the same id or key."""

    def __init__(self, whole: Any, predicting: int = 4, changing: bool = False) -> None:
        self.journal = Journal()
        self._whole = whole
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._predict, args=(n,)) for n in range(predicting)]
        if changing:
            self._threads.append(threading.Thread(target=self._change))

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _predict(self, number: int) -> None:
        chance = random.Random(number)
        count = 0
        while not self._stop.is_set():
            count += 1
            row = {"heat": chance.uniform(0, 10), "water": chance.uniform(0, 5)}
            kind = chance.random()
            own = f"client-{number}-{count}" if kind < 0.5 else ""
            if kind < 0.02:
                self._ask("predict", own, {"rows": "none", "ids": [own]})
            elif own:
                self._until_answered("predict", own, {"rows": [row], "ids": [own]})
                if kind < 0.1:
                    self._ask("predict", own, {"rows": [row], "ids": [own]})
            else:
                status, answer = self._ask("predict", own, {"rows": [row]})
                if status == 200 and kind > 0.8:
                    about = answer["prediction_ids"][0]
                    outcome = {"prediction_id": about, "value": round(3 * row["heat"], 3)}
                    while self._ask("outcomes", about, {"outcomes": [outcome]})[0] == 0:
                        if self._stop.wait(0.02):
                            return
            self._stop.wait(0.005)

    def _until_answered(self, what: str, asked: str, body: dict[str, Any]) -> None:
        while self._ask(what, asked, body)[0] in (0, 503) and not self._stop.wait(0.02):
            pass

    def _ask(self, what: str, asked: str, body: dict[str, Any]) -> tuple[int, Any]:
        begun = time.monotonic()
        status, answer = self._whole.call(
            self._whole.serve_port, "POST", f"/v1/models/{MODEL}/{what}", body, timeout=30
        )
        self.journal.write(what, asked, begun, status, answer if status == 200 else (body, answer))
        return status, answer

    def _change(self) -> None:
        count = 0
        path = f"/api/v1/models/{MODEL}/rollback"
        while not self._stop.wait(0.2):
            count += 1
            key = f"change-{count:04d}"
            body = {"why": key, "to": "previous"}  # to and fro
            status = 0
            while status in (0, 503, 507):
                begun = time.monotonic()
                status, answer = self._whole.call(self._whole.port, "POST", path, body, timeout=30, key=key)
                self.journal.write("rollback", key, begun, status, answer)
                if self._stop.wait(0.05):
                    return
            if status == 200 and count % 3 == 0:
                again = self._whole.call(self._whole.port, "POST", path, body, timeout=30, key=key)
                self.journal.write("rollback", key, begun, *again)


def check_history(whole: Any, journal: Journal, dropped: int = 0) -> list[str]:
    """Everything that contradicts the journal or itself; empty when the history holds.

    dropped: records that the model server says it could not log (and answered all the same).
    """
    from flyball.app import Flyball
    from flyball.core.settings import read_settings
    from flyball.operations.opening import open_backends

    backends = open_backends(read_settings(whole.folder, whole.environment))
    app = Flyball(backends)
    try:
        problems = [
            *_strange_answers(journal),
            *_predictions(app, journal, dropped),
            *_outcomes(app, journal),
            *_changes(app, journal),
            *_versions(app),
            *_runs(app),
            *_revisions(app),
            *[f"doctor: {f['check']}: {f['repair']}" for f in app.doctor() if f["state"] != "right"],
        ]
        verified = app.audit_verify()
        return problems if verified.ok else [*problems, f"audit: {verified.problem}"]
    finally:
        app.close()


def _strange_answers(journal: Journal) -> list[str]:
    """Answers other than yes, no answer, not now, and no to what was wrongly asked."""
    expected = {"predict": {0, 200, 422, 503}, "outcomes": {0, 200, 503}, "rollback": {0, 200, 503, 507, 409}}
    strange = [act for act in journal.acts if act.status not in expected[act.operation]]
    strange += [act for act in journal.told("predict", 422) if act.answer[0]["rows"] != "none"]
    strange += [act for act in journal.told("rollback", 409) if act.answer["code"] != "key_in_use"]
    return [f"{len(strange)} answers that should not be, such as {strange[0]}"] if strange else []


def _predictions(app: Any, journal: Journal, dropped: int) -> list[str]:
    """Each acknowledged prediction is logged once, with the answer that was given; a refused one is not."""
    from flyball.core.ids import derived_id
    from flyball.data.predictions import read_predictions

    logged = read_predictions(app.backends.tables_url, MODEL, *_always(), roles=("champion", "candidate"))
    times = _stored(app)
    rows = dict(zip(logged["id"].to_list(), logged.select("prediction", "answered").iter_rows(), strict=True))
    problems = [f"prediction {i} is logged {n} times" for i, n in times.items() if n > 1][:3]
    problems += _counts(app, times)
    answers = defaultdict(list)
    for act in journal.told("predict"):
        answers[act.answer["prediction_ids"][0]].append((act.answer["predictions"][0], act.answer["version"]))
    lost = sorted(set(answers) - set(times))
    if len(lost) > dropped:
        problems.append(f"{len(lost)} acknowledged predictions are lost, {dropped} said so: {lost[:3]} …")
    # One that was asked again may have been answered unseen the first time, and that is what counts.
    asked = Counter(act.asked for act in journal.acts if act.operation == "predict")
    again = {derived_id("prd", MODEL, own) for own, count in asked.items() if count > 1 and own}
    other = [i for i, given in answers.items() if i in rows and i not in again and rows[i] not in given]
    problems += [f"prediction {i} was {answers[i]}, and is logged as {rows[i]}" for i in other[:3]]
    refused = {derived_id("prd", MODEL, act.asked) for act in journal.told("predict", 422)}
    problems += [f"the refused prediction {i} is logged" for i in sorted(refused & set(times))[:3]]
    return problems


def _stored(app: Any) -> Counter[str]:
    """How often each prediction is in the log's tables, where reading does not yet leave repeated ones out."""
    import polars as pl

    from flyball.data.log_tables import PREDICTIONS, scan_generations

    wanted = ~pl.col("conflict") & (pl.col("role") != "shadow")
    tables = scan_generations(app.backends.tables_url, PREDICTIONS, MODEL)
    return Counter(name for table in tables for name in table.filter(wanted).select("id").collect()["id"])


def _counts(app: Any, times: Counter[str]) -> list[str]:
    from flyball.data.log_counts import get_counts

    with app.backends.database.read() as conn:
        counts = get_counts(conn, MODEL)
    told, held = counts.predictions + counts.failures, len(times)
    return [] if told == held else [f"{told} predictions are counted, {held} are in the log"]


def _outcomes(app: Any, journal: Journal) -> list[str]:
    from flyball.data.outcomes import read_outcomes

    told = read_outcomes(app.backends.tables_url, MODEL, known_by=_always()[1])["prediction_id"].to_list()
    problems = [f"the outcome of {i} counts {n} times" for i, n in Counter(told).items() if n > 1]
    yes = {act.asked for act in journal.told("outcomes")}
    if yes - set(told):
        problems.append(f"{len(yes - set(told))} acknowledged outcomes are lost")
    refused = {act.asked for act in journal.told("outcomes", 503)} & set(told)
    return problems + [f"the refused outcome of {i} is kept" for i in sorted(refused)[:3]]


def _changes(app: Any, journal: Journal) -> list[str]:
    """Each acknowledged change happened, and none twice; names have moved from where they stood."""
    problems = []
    standing: dict[str, int | None] = {}
    done = Counter()
    for move in app.history(MODEL):
        if standing.get(move.name) != move.from_number:
            stood = standing.get(move.name)
            problems.append(f"{move.name} moved from {move.from_number}, but stood at {stood}")
        standing[move.name] = move.to_number
        if move.name == "champion" and "change-" in move.why:
            done[move.why[-len("change-0000") :]] += 1
    problems += [f"{key} happened {count} times" for key, count in done.items() if count > 1]
    yes = {act.asked for act in (*journal.told("rollback"), *journal.told("rollback", 409))}
    problems += [f"{key} was acknowledged and did not happen" for key in sorted(yes - set(done))]
    answers = defaultdict(list)
    for act in journal.told("rollback"):
        answers[act.asked].append(act.answer)
    problems += [
        f"{key} was answered {said}" for key, said in answers.items() if said != [said[0]] * len(said)
    ]
    entries = [entry for entry in _audit(app) if entry.action == "alias.moved"]
    if len(entries) != len(app.history(MODEL)):
        problems.append(f"{len(entries)} audit entries for {len(app.history(MODEL))} moves of names")
    return problems


def _versions(app: Any) -> list[str]:
    """Versions are dense and unique, each with its one audit entry and its evidence."""
    versions = app.list_versions(MODEL, limit=10_000)
    numbers = sorted(version.number for version in versions)
    problems = []
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"version numbers are not dense: {numbers}")
    created = [entry.subject for entry in _audit(app) if entry.action.startswith("version.re")]
    if sorted(created) != sorted(f"version:{MODEL}@{number}" for number in numbers):
        problems.append(f"audit entries for {sorted(created)}, and versions {numbers}")
    for number in numbers:
        if not app.show_version(f"{MODEL}@{number}")["evidence"]:
            problems.append(f"version {number} has no evidence: it is half registered")
    return problems


def _runs(app: Any) -> list[str]:
    """Every run that ended well has its version, and every version its run."""
    runs = app.list_runs(limit=10_000)
    versions = {version.number for version in app.list_versions(MODEL, limit=10_000)}
    good = [run for run in runs if run.state in ("registered", "refused")]
    problems = [f"run {run.id} has no version" for run in good if run.version not in versions]
    without = versions - {run.version for run in good if not run.cached}
    return [*problems, f"versions {sorted(without)} have no run that made them"] if without else problems


def _revisions(app: Any) -> list[str]:
    """Deployments are dense, and each is published as it was wanted."""
    from flyball.registry.route_table import route_key
    from flyball.registry.routes import build_table, list_revisions

    backends, problems = app.backends, []
    with backends.database.read() as conn:
        wanted = {row.revision: build_table(conn, row) for row in list_revisions(conn, MODEL, limit=10_000)}
    if sorted(wanted) != list(range(1, len(wanted) + 1)):
        problems.append(f"revisions are not dense: {sorted(wanted)}")
    for revision, table in wanted.items():
        import msgspec

        data = backends.blobs.find(route_key(MODEL, revision))
        if data is None or msgspec.json.decode(data, type=type(table)) != table:
            problems.append(f"revision {revision} is not published as it was wanted")
    return problems


def _audit(app: Any) -> list[Any]:
    from flyball.governance.journal import list_entries

    with app.backends.database.read() as conn:
        return list_entries(conn, limit=1_000_000)


def _always() -> tuple[datetime, datetime]:
    return datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
