"""The OpenAPI document against what the service does, with whatever schemathesis thinks of."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.helpers.client import TOKEN, Serve

OPERATIONS = {"GET /v1/classes", "POST /v1/classes", "POST /v1/predict", "GET /healthz", "GET /metrics"}
SETTINGS: dict[str, Any] = {
    "seed": 1,
    "headers": {"Authorization": f"Bearer {TOKEN}"},
    "generation": {"max-examples": 20, "database": "none"},
    "phases": {"stateful": {"enabled": False}},
    "cache": {"enabled": False},
    # Most of what a schema allows as a picture is none, so such a request may be refused, too.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "409", "422"]}},
}


def test_it_does_what_it_says(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # in which schemathesis may leave files
    client = serve(token=TOKEN, editable=True, loopback=False)
    config = SchemathesisConfig.from_dict(SETTINGS)
    schema = schemathesis.openapi.from_asgi("/openapi.json", client.app, config=config)
    found: list[str] = []
    answered: dict[str, set[int]] = {}
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.FatalError | events.NonFatalError), event
        if isinstance(event, events.ScenarioFinished) and event.label:
            record = event.recorder
            for number, interaction in record.interactions.items():
                assert interaction.response is not None
                answered.setdefault(event.label, set()).add(interaction.response.status_code)
                form = "multipart" in str(interaction.request.headers.get("Content-Type"))
                for check in record.checks.get(number, []):
                    # In a form everything is text, so that a class may be called {} or 0.
                    if check.failure_info and not (form and check.name == "negative_data_rejection"):
                        failure = check.failure_info
                        found.append(f"{event.label}: {failure.failure.title}: {failure.code_sample}")
    assert not found
    assert set(answered) == OPERATIONS
    assert all(200 in statuses for statuses in answered.values())
    assert {401, 405, 422} <= answered["POST /v1/predict"] and 422 in answered["POST /v1/classes"]
    assert max(max(statuses) for statuses in answered.values()) < 500
