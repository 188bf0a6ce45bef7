"""The report as one comment on the change, written by the host's API with the token of the environment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from flyball.backends.egress.comments import CommentHost, NotPosted, Posted, post_comment
from flyball.backends.egress.github import find_pull_request
from flyball.backends.egress.gitlab import find_merge_request
from flyball.core.errors import BadInput, EgressRefused
from flyball.operations.ci.markdown import write_comment
from flyball.operations.ci.received import find_received, page_of_job, read_received
from flyball.operations.ci.report import CiReport, Link

log = logging.getLogger(__name__)


def post_report(
    report: CiReport, environment: Mapping[str, str], *, full: Link | None = None
) -> Posted | NotPosted:
    """Write the report on the pull or merge request that this job runs for, in place of the model's earlier one.

    environment: of the CI job; the token is read from there only. full: where the whole report is kept. Nothing that
    goes wrong here changes the verdict: it comes back as `NotPosted`, with the reason.
    """
    try:
        host = find_host(environment)
        if isinstance(host, NotPosted):
            return host
        body = write_comment(report, full=full)
        return post_comment(host, marker=f"ci-{report.model}", order=_order(environment), body=body)
    except EgressRefused as error:
        return NotPosted(error.message)
    except Exception:
        # The edge of posting: logged and told as not posted, because the verdict stands whatever the host does.
        log.exception("the report could not be posted")
        return NotPosted("something unforeseen went wrong, see the log; the report is kept as a file")


def told_of(outcome: Posted | NotPosted) -> str:
    """One sentence that says whether a report was posted, and where or why not."""
    if isinstance(outcome, NotPosted):
        return f"the report was not posted: {outcome.because}"
    return f"the report was posted{f' at {outcome.url}' if outcome.url else ''}"


def post_received(place: Path, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Post the reports that an earlier job wrote to a file or folder; for each its file and what came of it."""
    try:
        paths = find_received(place)
    except BadInput as error:
        return [{"file": str(place), "told": f"nothing was posted: {error.message}"}]
    told = []
    for path in paths:
        try:
            report = read_received(path)
        except BadInput as error:
            told.append({"file": str(path), "told": f"the report was not posted: {error.message}"})
            continue
        sentence = told_of(post_report(report, environment, full=page_of_job(environment)))
        told.append({"file": str(path), "told": f"{report.model}: {sentence}"})
    return told


def find_host(environment: Mapping[str, str]) -> CommentHost | NotPosted:
    """The change that this CI job runs for, on the host that runs it."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return find_pull_request(environment)
    if environment.get("GITLAB_CI") == "true":
        return find_merge_request(environment)
    return NotPosted("this is no job of GitHub or GitLab, so there is no change to comment on")


def _order(environment: Mapping[str, str]) -> int:
    """A number that grows from run to run, so that an older run that ends late does not write over a newer one."""
    name = "GITHUB_RUN_ID" if environment.get("GITHUB_ACTIONS") == "true" else "CI_PIPELINE_ID"
    given = environment.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) <= 18 else 0
