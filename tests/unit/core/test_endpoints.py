"""The table of endpoints: what is not declared in full keeps the server from starting."""

from __future__ import annotations

import msgspec
import pytest

from flyball.core.endpoints import ENDPOINTS, MODEL_ENDPOINTS, Endpoint, bind, list_endpoints
from flyball.core.errors import Refused


def handlers_for(endpoints: tuple[Endpoint, ...]) -> dict[str, str]:
    return {endpoint.name: f"handler of {endpoint.name}" for endpoint in endpoints}


def change(endpoint: Endpoint, **fields: object) -> Endpoint:
    return msgspec.structs.replace(endpoint, **fields)


PREDICT = MODEL_ENDPOINTS[0]


def test_each_endpoint_comes_with_the_handler_of_its_name():
    bound = bind("model", handlers_for(MODEL_ENDPOINTS))
    assert [(e.name, h) for e, h in bound] == [(e.name, f"handler of {e.name}") for e in MODEL_ENDPOINTS]


def test_the_table_itself_declares_everything():
    for server in ("model", "control"):
        mine = tuple(list_endpoints(server))
        assert len(bind(server, handlers_for(mine))) == len(mine)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (change(PREDICT, permission=""), "no permission declared"),
        (change(PREDICT, body_limit_bytes=0), "no body limit"),
        (change(PREDICT, audit=None), "no audit event declared"),
        (change(PREDICT, path="/v1/../etc"), "no path"),
    ],
)
def test_an_endpoint_that_lacks_a_declaration_keeps_the_server_from_starting(broken: Endpoint, words: str):
    with pytest.raises(Refused, match=words):
        bind("model", {broken.name: "handler"}, [broken])


def test_an_endpoint_without_a_handler_keeps_the_server_from_starting():
    handlers = handlers_for(MODEL_ENDPOINTS)
    del handlers["model.metrics"]
    with pytest.raises(Refused, match=r"model\.metrics: no handler"):
        bind("model", handlers)


def test_a_handler_that_no_endpoint_asks_for_keeps_the_server_from_starting():
    with pytest.raises(Refused, match=r"model\.secret: a handler, but no endpoint"):
        bind("model", {**handlers_for(MODEL_ENDPOINTS), "model.secret": "handler"})


def test_one_way_in_is_declared_once():
    again = change(PREDICT, name="model.again", path="/v1/models/{name}/predict")
    with pytest.raises(Refused, match="declared twice"):
        bind("model", {PREDICT.name: "a", "model.again": "b"}, [PREDICT, again])


def test_all_that_is_wrong_is_said_at_once():
    broken = change(PREDICT, permission="", body_limit_bytes=0)
    with pytest.raises(Refused) as caught:
        bind("model", {}, [broken])
    assert len(caught.value.facts["problems"]) == 3


def test_names_are_unique_over_both_servers():
    names = [endpoint.name for endpoint in ENDPOINTS]
    assert len(names) == len(set(names))
