"""Commands of docs/serve.md run, with another port."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import vlprompt
from tests.helpers.client import TOKEN, png
from tests.helpers.runs import Tuned
from tests.helpers.server import server

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")


def test_commands_run(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tuned("coop", n_ctx=2)
    (tmp_path / "holiday.jpg").write_bytes(png((200, 20, 20), form="JPEG"))
    (tmp_path / "beach.jpg").write_bytes(png((20, 20, 200), form="JPEG"))
    monkeypatch.setenv("VLPROMPT_TOKEN", TOKEN)
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)).strip()
    commands = re.sub(r"(?:\\\n|(?<=\|)\n)\s*", " ", commands).splitlines()  # continued lines
    answers = []
    with (
        server(vlprompt.load_classifier(run, device="cpu")) as plain,
        server(vlprompt.load_classifier(run, device="cpu"), token=TOKEN, editable=True) as locked,
    ):
        for command in filter(None, commands):
            address = locked if "Authorization" in command else plain
            words = ["sh", "-c", command.replace("http://127.0.0.1:8000", address)]
            done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
            answers.append(json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout)
    one, two, encoded, classes, health, metrics, edited = answers
    assert set(one) == {"results", "milliseconds"} and set(one["results"][0]) == {"label", "probability", "top"}
    for found in two["results"]:
        tops = found["top"], found["zero_shot"]["top"]
        assert all([rank["rank"] for rank in top][:3] == [1, 2, 3] and len(top) <= 4 for top in tops)
        assert all("a red balloon" in [rank["label"] for rank in top] for top in tops)
    assert len(encoded["results"][0]["top"]) == 3
    assert edited["classes"] == [*classes["classes"], "a red balloon"] and health == {"status": "ok"}
    assert 'vlprompt_requests_total{method="POST",route="/v1/predict",status="200"} 3.0' in metrics
