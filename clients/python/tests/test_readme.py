"""The examples of the README, run as they stand."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import httpx

from conftest import Real

README = Path(__file__).parent.parent / "README.md"


def test_examples(real: Real) -> None:
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```pycon\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) > 3
    for path, body in [
        ("models", {"modelId": "turbine", "points": {
            "wind_speed": {"dataType": "DOUBLE", "signalType": "AI"},
            "power": {"dataType": "DOUBLE", "signalType": "AI"}}}),
        ("products", {"modelId": "turbine", "productKey": "wt"}),
        ("devices", [
            {"productKey": "wt", "deviceKey": "7", "assetId": "aX7pQ2Lm", "timezone": "Asia/Shanghai"},
            {"productKey": "wt", "deviceKey": "8", "assetId": "bK3dR9Tz", "timezone": "Asia/Shanghai"}]),
    ]:  # fmt: skip
        answer = httpx.post(f"{real.url}/api/v1/{path}", json=body)
        assert answer.status_code == 201, answer.text
    examples = "\n".join(blocks).replace("http://localhost:8080", real.url)
    test = doctest.DocTestParser().get_doctest(examples, {}, "README", str(README), 0)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=flags)
    runner.run(test, out=output.append)
    assert runner.failures == 0, "".join(output)
