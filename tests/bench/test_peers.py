"""The figures of `benchmarks.peers`: what is compared, and what its command line refuses."""

from __future__ import annotations

import pytest

from benchmarks.peers import Round, parsed, prompt, summary


def rounds(*speeds: float, tokens: tuple[int, ...] = (1, 2, 3, 4)) -> list[Round]:
    """Rounds that decoded at these speeds."""
    return [Round(tokens, 100.0, speed, 2**20) for speed in speeds]


def test_a_ratio_is_the_median_over_rounds_not_the_ratio_of_medians():
    """A machine that is busy in one round is so for both."""
    figures = summary(
        {"turbo": rounds(30, 10, 44), "generate": rounds(10, 5, 11)}, {"llama.cpp": "Not there"}
    )
    assert figures["ratios"] == {"turbo / generate": 3.0}
    assert figures["engines"]["turbo"]["decode_tokens_per_s"] == 30
    assert figures["engines"]["turbo"]["decode_least"] == 10
    assert figures["engines"]["turbo"]["decode_most"] == 44
    assert figures["engines"]["llama.cpp"] == {"not_available": "Not there"}
    assert figures["same_tokens"] is None


def test_equal_beginnings_say_that_the_weights_are_the_same():
    figures = summary(
        {"generate": rounds(1, 1), "llama.cpp": rounds(1, 1, tokens=(1, 2, 9, 4))}, {}
    )
    assert figures["same_tokens"] == 0.5


def test_no_two_prompts_begin_alike():
    prompts = [prompt(number, 50) for number in range(20)]
    assert len({ids[0] for ids in prompts}) == 20
    assert {len(ids) for ids in prompts} == {50}
    assert all(i >= 16 for ids in prompts for i in ids)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--engines", "turbo,warp"], "there is no engine 'warp'"),
        (["--new", "512"], "a larger context"),
        (["--new", "1"], "at least 2 new tokens"),
        (["--rounds", "0"], "1 round"),
    ],
)
def test_wrong_usage_is_refused(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(words)
    assert ended.value.code == 2 and part in capsys.readouterr().err
