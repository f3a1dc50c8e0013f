"""`benchmarks.gpu`, on a CPU with a small model: all of its parts, and what it refuses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from benchmarks import gpu

SMALL = shlex.split(
    "--device cpu --half bf16 --layers 2 --width 128 --vocab 4096 --context 96 --positions 600 "
    "--new 8 --rounds 1 --cancels 2 --switches 4 --paths eager"
)


@pytest.mark.slow
def test_every_part_gives_its_figures_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main([*SMALL, "--where", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads(lines[-1])

    assert figures["failed"] == {}
    assert figures["decode.eager_to_generate"] > 0
    assert figures["decode.eager.bandwidth_share"] > 0
    assert figures["decode.ttft_ms"] > 0
    for stage in ("prefill", "decode"):
        assert 0 <= figures[f"cancel.{stage}.median_ms"] <= figures[f"cancel.{stage}.largest_ms"]
    assert figures["memory.same_reply_after"] is True
    for precision in gpu.QUANTISED:
        assert figures[f"{precision}.eager.tokens_per_s"] > 0
    assert "switches.residual_mib" in figures
    assert not list(tmp_path.iterdir())
    rows = {line.split()[0] for line in lines[:-1]}
    assert set(gpu.GOALS) - {"decode.turbo_to_generate", "decode.turbo.bandwidth_share"} <= rows


def test_a_part_that_fails_is_said_and_the_others_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setitem(gpu.ON_ONE_MODEL, "decode", fail)
    ended = gpu.main([*SMALL, "--parts", "decode,cancel", "--where", str(tmp_path)])
    output = capsys.readouterr()
    figures = json.loads(output.out.splitlines()[-1])

    assert ended == 1
    assert figures["failed"] == {"decode": "RuntimeError: no such thing"}
    assert "decode failed" in output.err
    assert figures["cancel.decode.median_ms"] >= 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--parts", "decode,warp"], "there is no 'warp'"),
        (["--paths", "quick"], "there is no 'quick'"),
        (["--new", "96"], "a larger context"),
        (["--switches", "2"], "4 switches"),
        (["--device", "cuda:99"], "There is no cuda:99"),
    ],
)
def test_wrong_usage_is_refused(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu.parsed([*SMALL, *words])
    assert ended.value.code == 2 and part in capsys.readouterr().err
