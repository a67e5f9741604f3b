from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prefect import State, flow
from prefect.states import Completed
from prefect.testing.utilities import prefect_test_harness

from flows.command import run_flow

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "params.yaml").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Requests whose first answer does not arrive, so that Prefect's client repeats them."""
    send, requests = httpx.Client.send, []

    def send_and_lose_answer(
        client: httpx.Client, request: httpx.Request, **options: Any
    ) -> httpx.Response:
        response = send(client, request, **options)
        is_final = request.url.path.endswith("/set_state") and b"COMPLETED" in request.content
        if is_final and not requests:
            requests.append(request.method)
            raise httpx.ReadTimeout("the answer was lost", request=request)
        return response

    monkeypatch.setattr(httpx.Client, "send", send_and_lose_answer)
    return requests


def test_result_is_known_though_the_answer_to_the_final_state_was_lost(
    server: None, lost: list[str]
) -> None:
    @flow
    def double(number: int) -> State:
        return Completed(message="done", data={"twice": 2 * number})

    results: list[object] = []
    code = run_flow(double, {"number": 21}, check=lambda: None, then=results.append)
    assert (code, results, lost) == (0, [{"twice": 42}], ["POST"])
