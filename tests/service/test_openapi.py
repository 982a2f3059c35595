"""The published description is true: requests that are made from it, and against it, get the answers that it names."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from bitvm_bridge.exchange.envelope import seal
from bitvm_bridge.service.limits import Limits
from bitvm_bridge.service.openapi import describe
from tests.service.parts import ALICE, Running, Signed

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    allow_header_conformance,
    unsupported_method,
    ignored_auth,
]
"""All that fit a service without sessions, whose resources are never deleted."""
ACCEPTED = ["2xx", "401", "403", "404", "410"]
"""What data that fits the schema may meet: a cursor of elsewhere, an id of nothing, a signature of somebody else."""
CONFIG = {"checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}}}
QUICK, LONG = 100, 1_000
"""requests for every operation, and each kind of data."""


def operations(document: dict[str, Any]) -> list[Any]:
    """All that a description has."""
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(CONFIG))
    return [found.ok() for found in schema.get_all_operations()]


def unsigned(document: dict[str, Any]) -> dict[str, Any]:
    """The same without signatures: they are always right here, and what else is wrong is to be found."""
    paths = {
        path: {method: found | {"security": []} for method, found in methods.items()}
        for path, methods in document["paths"].items()
    }
    return document | {"paths": paths}


DESCRIPTION = describe(Limits())
CASES = [
    *((operation, GenerationMode.POSITIVE) for operation in operations(DESCRIPTION)),
    *(
        (operation, GenerationMode.NEGATIVE)
        for operation in operations(unsigned(DESCRIPTION))
        if operation.label.partition(" ")[2].startswith("/v1/envelopes")
    ),
]
"""Nothing can be wrong with requests that take no parameters and no body."""
each_case = pytest.mark.parametrize(("operation", "mode"), CASES, ids=lambda one: getattr(one, "label", one))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running.start(tmp_path_factory.mktemp("service"), "--port", "0") as found:
        yield found


def seal_it(body: dict[str, Any]) -> Any:
    """No schema can say what a signature, or an author's key, is to be."""
    envelope = seal(ALICE, body["kind"], bytes.fromhex(body["session"]), body["body"])
    return json.loads(envelope.to_json())


def attack(running: Running, operation: Any, mode: GenerationMode, count: int) -> None:
    """So many generated requests, signed by a party. Half of the envelopes that could be sealed are."""

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), sealed=st.booleans())
    def one(case: Any, sealed: bool) -> None:
        if "wait" in case.query and mode is GenerationMode.POSITIVE:
            case.query["wait"] = 0
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body = seal_it(case.body) if sealed else case.body | {"author": ALICE.xonly.hex()}
        case.call_and_validate(
            base_url=running.url,
            auth=Signed(ALICE, running.host),
            checks=CHECKS,
            timeout=30,
        )

    one()


@each_case
def test_the_service_does_what_it_says(running: Running, operation: Any, mode: GenerationMode) -> None:
    attack(running, operation, mode, QUICK)
    assert running.events("error") == []
    met = {event["status"] for event in running.events("request")}
    assert (201 in met and 403 in met) or (operation.label, mode) != ("POST /v1/envelopes", GenerationMode.POSITIVE)


@pytest.mark.sweep
@each_case
def test_the_service_does_what_it_says_at_length(running: Running, operation: Any, mode: GenerationMode) -> None:
    attack(running, operation, mode, LONG)
    assert running.events("error") == []
