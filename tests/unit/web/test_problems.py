"""Errors over HTTP: each has a status of its branch, a stable code, and a document of RFC 9457."""

from __future__ import annotations

import msgspec
import pytest

import flyball.governance.approvals  # noqa: F401 - the tree of errors should be whole
from flyball.core import errors
from flyball.web.problems import problem_body, problem_of


def every_kind() -> list[type[errors.FlyballError]]:
    found, waiting = [], [errors.FlyballError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return found


def of_kind(kind: type[errors.FlyballError]) -> errors.FlyballError:
    error = kind.__new__(kind)
    errors.FlyballError.__init__(error, "what happened; what to do", place="here")
    return error


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.__name__)
def test_every_error_is_told_with_a_status_and_its_code(kind: type[errors.FlyballError]):
    problem = problem_of(of_kind(kind))
    assert 400 <= problem.status < 600
    assert problem.code == kind.code


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ModelNotFound("x"), 404),
        (errors.NoChampion("x"), 409),
        (errors.BadInput("x"), 422),
        (errors.InvalidReference("x", "y"), 400),
        (errors.OwnApproval("x"), 403),
        (errors.StorageFull("x"), 507),
        (errors.DatabaseBusy("x"), 503),
        (errors.CorruptObject("x"), 500),
    ],
)
def test_a_branch_of_the_tree_has_its_status(error: errors.FlyballError, status: int):
    assert problem_of(error).status == status


@pytest.mark.parametrize(
    ("code", "status"),
    [("prediction_not_found", 404), ("model_not_found", 404), ("storage_full", 507), ("internal", 500)],
)
def test_an_error_from_another_process_is_told_by_its_code(code: str, status: int):
    class FromElsewhere(errors.FlyballError):
        pass

    error = FromElsewhere("what happened")
    error.code = code
    assert problem_of(error).status == status


def test_a_problem_document_has_the_members_of_the_standard_beside_code_and_facts():
    body = problem_body(problem_of(errors.ModelNotFound("churn")), "/api/v1/models/churn")
    assert body == {
        "type": "urn:flyball:error:model_not_found",
        "title": "Not found",
        "status": 404,
        "detail": "there is no model 'churn'; `flyball models` lists them",
        "instance": "/api/v1/models/churn",
        "code": "model_not_found",
        "facts": {"model": "churn"},
    }


def test_facts_that_are_no_json_are_told_as_text():
    body = problem_body(problem_of(errors.BadInput("x", what=object, nan=float("nan"))))
    assert msgspec.json.decode(msgspec.json.encode(body))["facts"]["nan"] is None
    assert "object" in body["facts"]["what"]
