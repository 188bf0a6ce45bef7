"""Deploying into an environment: the version that was tested is carried there, and its rollout begins.

Nothing is trained. What stands there already is not begun a second time, so that a repeat, and the one of two at once
that comes second, give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.core.errors import BadInput, Conflict, NotEnoughEvidence, Refused, VersionRefused, told_of
from flyball.core.project import Project
from flyball.core.refs import ModelRef
from flyball.core.settings import read_settings
from flyball.core.values import Actor
from flyball.data.model_time import find_model_time
from flyball.delivery import rollouts
from flyball.delivery.approvals import find_rejection
from flyball.delivery.start import Started, launch
from flyball.delivery.transitions import Moment
from flyball.governance.journal import head
from flyball.operations.deploying import choose_version
from flyball.operations.deploying import deploy as start_rollout
from flyball.operations.environments.gates import Recorded, judge_recorded
from flyball.operations.environments.places import (
    Environment,
    choose_environment,
    open_environment,
    variable_of,
)
from flyball.operations.environments.transfer import carry, compared_with
from flyball.operations.opening import Backends, open_backends
from flyball.operations.publishing import publish_now
from flyball.pipelines.project_file import ProjectFile, read_project
from flyball.pipelines.runs import find_run
from flyball.pipelines.strangers import refuse_deploying
from flyball.registry.evidence import list_evidence
from flyball.registry.route_table import find_next
from flyball.registry.routes import current
from flyball.registry.versions import ModelVersion, get_version, resolve

ALREADY = "it is champion there already; nothing was changed"
RUNNING = "its rollout runs already; nothing was begun"


class Deployed(Started, frozen=True, kw_only=True):
    """What a deployment to an environment led to there. `digest`: of the bytes that were tested and are deployed.

    `taken_from`: the environment that it came from, None for the home; `taken_version`: its number there.
    """

    environment: str
    digest: str
    taken_from: str | None
    taken_version: int
    copied: int


def deploy_to(
    file: ProjectFile,
    ref: ModelRef,
    environment: Environment,
    variables: Mapping[str, str],
    *,
    why: str,
    strategy: str | None,
    actor: Actor,
) -> Deployed:
    """Take a version to an environment of a project and start its rollout there, under the settings of its section.

    Without a reference: the champion of the environment that it comes `after`, else the newest registered version of
    this home. Raises Refused for what that champion is not and for a failed gate, NotEnoughEvidence for one that the
    record does not decide, and as `transfer.carry` and `operations.deploying.deploy`.
    """
    project = settings_there(file, ref.model, environment, variables, strategy=strategy)
    with open_source(file, environment, variables) as source:
        version = choose_source(source, ref, environment)
        opened = open_environment(environment, make=True, clock=source.clock)
        with opened as target, told_of(environment.name):
            check_apart(source, target, environment)
            check_routes(target, ref.model, environment)
            verdicts = pass_gates(source, target, version, environment)
            carried = carry(
                source, target, version, source_name=environment.section.after, actor=actor, verdicts=verdicts
            )
            started = start_there(target, carried.version, why=why, project=project, actor=actor)
    return deployed(msgspec.structs.asdict(started), environment, version, carried.copied)


def deployed(
    started: Mapping[str, Any], environment: Environment, version: ModelVersion, copied: int
) -> Deployed:
    """What is told of a deployment. started: fields of `Started`; version: where it was taken from."""
    return Deployed(
        **{name: started[name] for name in Started.__struct_fields__},
        environment=environment.name,
        digest=version.digest,
        taken_from=environment.section.after,
        taken_version=version.number,
        copied=copied,
    )


def settings_there(
    file: ProjectFile,
    model: str,
    environment: Environment,
    variables: Mapping[str, str],
    *,
    strategy: str | None = None,
) -> Project:
    """The settings that hold in an environment: flag, then variable, section, file. Raises BadInput for another model.

    As many approvals as the strictest of section, file and variable asks for.
    """
    if file.project.model.name != model:
        raise BadInput(
            f"{file.path} is about {file.project.model.name}, and its environments are those of that model; run this "
            f"in the folder of {model}",
            model=model,
        )
    flags = {} if strategy is None else {"rollout.strategy": strategy}
    named = read_project(file.path, flags=flags, environment=variables, section=environment.name).project
    asked = read_project(file.path, section=environment.name).project.rollout.approvals
    rollout = msgspec.structs.replace(named.rollout, approvals=max(named.rollout.approvals, asked))
    return msgspec.structs.replace(named, rollout=rollout)


@contextmanager
def open_source(
    file: ProjectFile, environment: Environment, variables: Mapping[str, str]
) -> Iterator[Backends]:
    """The stores of the home that an environment takes its versions from. Raises Refused for strangers' checks."""
    settings = read_settings(file.folder, variables)
    refuse_deploying(settings)
    before = environment.section.after
    if before is not None:
        with open_environment(choose_environment(file, before, variables)) as backends, told_of(before):
            yield backends
        return
    backends = open_backends(settings)
    try:
        yield backends
    finally:
        backends.close()


def choose_source(source: Backends, ref: ModelRef, environment: Environment) -> ModelVersion:
    """The version that a reference means where an environment takes its versions from.

    Raises Refused for one that was rejected there, and for one that is not champion of the environment before.
    """
    before = environment.section.after
    with source.database.read() as conn:
        is_open = ref == ModelRef(ref.model)
        if before is None:
            version: ModelVersion = choose_version(conn, ref)
        else:
            champion = resolve(conn, ModelRef(ref.model, alias="champion"))
            version = champion if is_open else resolve(conn, ref)
            if version.digest != champion.digest:
                raise Refused(
                    f"{environment.name} takes only what is champion in {before}, and that is version "
                    f"{champion.number} there ({champion.digest}), not {version.number} ({version.digest}); "
                    f"`flyball deploy {ref.model} --env {before}` comes first",
                    model=ref.model,
                    version=version.number,
                )
        rejection = find_rejection(conn, version.model, version.number, version.digest)
    where = "this home" if before is None else before
    if version.state != "registered":
        raise VersionRefused(ref.model, version.number, where)
    if rejection is not None:
        raise Refused(f"{ref.model}@{version.number} of {where} was {rejection}", model=ref.model)
    return version


def pass_gates(
    source: Backends, target: Backends | None, version: ModelVersion, environment: Environment
) -> list[dict[str, Any]]:
    """The verdicts of the environment's own gates. Raises Refused, NotEnoughEvidence unless all are passed.

    target: None where nothing was deployed yet.
    """
    champion = None if target is None else _champion_digest(target, version.model)
    return judge_gates(source, champion, version, environment)


def judge_gates(
    source: Backends, champion: str | None, version: ModelVersion, environment: Environment
) -> list[dict[str, Any]]:
    """As `pass_gates`, against the environment's champion of this digest."""
    if not environment.section.gates:
        return []
    with source.database.read() as conn:
        evidence = list_evidence(conn, version.model, version.number)
        origin = version.lineage.get("origin")
        compared = origin.get("compared_with") if origin else _champion_of_run(conn, version)
    evaluations = [found.facts for found in evidence if found.kind == "evaluation"]
    recorded = Recorded(
        task=version.task,
        digest=version.digest,
        evaluation=evaluations[-1] if evaluations else {},
        gates=[found.facts for found in evidence if found.kind == "gate"],
        compared_with=compared,
        champion=champion,
    )
    verdicts = judge_recorded(environment.section.gates, recorded)
    for outcome, error in (("fail", Refused), ("inconclusive", NotEnoughEvidence)):
        told = [
            f"{verdict['metric']}: {verdict['because']}"
            for verdict in verdicts
            if verdict["outcome"] == outcome
        ]
        if told:
            word = "fails" if outcome == "fail" else "leaves undecided"
            raise error(
                f"{version.model}@{version.number} {word} what {environment.name} asks for, and is not deployed there: "
                f"{'; '.join(told)}",
                model=version.model,
                environment=environment.name,
            )
    return [{**verdict, "environment": environment.name} for verdict in verdicts]


def _champion_digest(target: Backends, model: str) -> str | None:
    with target.database.read() as conn:
        deployment = current(conn, model)
        number = None if deployment is None else deployment.champion
        return None if number is None else get_version(conn, model, number).digest


def _champion_of_run(conn: Connection, version: ModelVersion) -> str | None:
    return None if version.run_id is None else compared_with(find_run(conn, version.run_id))


def check_apart(source: Backends, target: Backends, environment: Environment) -> None:
    """Refuse a database that is its own source under another name: what holds in one would hold in the other at once.

    Addresses of one server can be written in more ways than can be compared; two audit trails never end alike.
    """
    with source.database.read() as conn, target.database.read() as other:
        end, end_there = head(conn), head(other)
    if end.number and end == end_there:
        before = environment.section.after or "this home"
        raise BadInput(
            f"{environment.name} and {before} have the same database, or one is a copy to which nothing was added "
            f"yet; give each its own ({variable_of(environment.name, 'DATABASE')}), so that one can't touch the other",
            environment=environment.name,
        )


def check_routes(target: Backends, model: str, environment: Environment) -> None:
    """Refuse stores into which another database publishes routes: serving would follow that one."""
    published = find_next(target.blobs, model, 0)
    with target.database.read() as conn:
        deployment = current(conn, model)
    wanted = 0 if deployment is None else deployment.revision
    if published is not None and published.revision > wanted:
        raise Conflict(
            f"the objects of {environment.name} hold revision {published.revision} of {model}, and its database knows "
            f"{wanted}: another home deploys into them, or the database was restored; give {environment.name} objects "
            "of its own",
            model=model,
        )


def start_there(
    target: Backends, version: ModelVersion, *, why: str, project: Project, actor: Actor
) -> Started:
    """The rollout there: the one that stands, one that has its approvals by now, or a new one."""
    found = _go_on(target, version, actor)
    if found is not None:
        return found
    try:
        started: Started = start_rollout(
            target,
            ModelRef(version.model, number=version.number),
            why=why,
            strategy=None,
            actor=actor,
            project=project,
        )
    except Conflict:
        found = _go_on(target, version, actor)
        if found is None:
            raise
        return found
    return started


def _go_on(target: Backends, version: ModelVersion, actor: Actor) -> Started | None:
    """How the version stands there if it is champion, or on its way; a wait that is over ends here."""
    now = target.clock.now()
    with target.database.write() as conn:
        deployment = current(conn, version.model)
        running = rollouts.find_unfinished(conn, version.model)
        if running is not None and running.candidate == version.number:
            moment = Moment(now=now, model_time=find_model_time(conn, version.model, now) or now)
            if running.state == "waiting":
                found = launch(conn, running, actor=actor, moment=moment)
            else:
                found = standing(version.model, version.number, running.state, running.id, RUNNING)
        elif deployment is not None and deployment.champion == version.number:
            found = standing(version.model, version.number, "promoted", None, ALREADY)
        else:
            return None
    publish_now(target)
    return found


def standing(model: str, number: int, state: str, rollout_id: str | None, because: str) -> Started:
    """The answer about a version that is where it was to go."""
    return Started(
        model=model,
        version=number,
        rollout_id=rollout_id,
        state=state,
        revision=None,
        first=False,
        waiting_for=0,
        because=because,
    )
