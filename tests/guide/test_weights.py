"""The committed model: its files, its tokenizer, and how well it does its job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from tui_chat.guide.evaluate import (
    LONGEST_REPLY,
    WEIGHTS,
    Guide,
    Outcome,
    Question,
    answer,
    read_questions,
    report,
)

HELD_OUT = Path(__file__).parent / "heldout.toml"
EXAM = Path(__file__).parent / "exam.toml"
TAGS = ("<|prompter|>", "<|assistant|>", "<|system|>", "<|prefix_begin|>", "<|prefix_end|>")


@pytest.fixture(scope="module")
def guide() -> Guide:
    return Guide()


@pytest.fixture(scope="module")
def outcomes(guide: Guide) -> list[Outcome]:
    return answer(guide, read_questions(HELD_OUT))


def test_the_weights_are_small_and_fp16() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= 16 * 1024 * 1024
    total = 0
    with safe_open(WEIGHTS / "model.safetensors", framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 (not a dict)
            part = tensors.get_slice(name)
            assert part.get_dtype() == "F16"
            total += torch.Size(part.get_shape()).numel()
    assert 3_000_000 <= total <= 8_000_000


def test_the_config_names_the_right_tokens_and_positions() -> None:
    config = json.loads((WEIGHTS / "config.json").read_text("utf-8"))
    generation = json.loads((WEIGHTS / "generation_config.json").read_text("utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    assert config["model_type"] == "gpt_neox"
    assert config["max_position_embeddings"] == 2048
    assert config["eos_token_id"] == generation["eos_token_id"] == tokenizer.eos_token_id
    assert config["pad_token_id"] == tokenizer.pad_token_id
    assert config["vocab_size"] % 16 == 0 and config["vocab_size"] >= len(tokenizer)


def test_the_tokenizer_is_fast_exact_and_has_the_flagships_tags() -> None:
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 2048
    assert not tokenizer.clean_up_tokenization_spaces
    for tag in (*TAGS, "<|endoftext|>", "<|padding|>"):
        assert len(tokenizer.encode(tag, add_special_tokens=False)) == 1
        assert tokenizer.convert_tokens_to_ids(tag) in tokenizer.all_special_ids
    text = "Press Ctrl+R , or `/retry` !  Grüße 日本 🙂\n\tend"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer("a").input_ids == tokenizer("a", add_special_tokens=False).input_ids


def test_it_loads_without_missing_or_unexpected_weights() -> None:
    _, info = AutoModelForCausalLM.from_pretrained(WEIGHTS, output_loading_info=True)
    assert not any(info.values())


def test_four_of_five_held_out_questions_are_answered(outcomes: list[Outcome]) -> None:
    right = sum(outcome.right for outcome in outcomes)
    assert len(outcomes) >= 60
    assert right >= 0.8 * len(outcomes), report(outcomes)


def test_the_exam_of_somebody_else_is_passed_too(guide: Guide) -> None:
    outcomes = answer(guide, read_questions(EXAM))
    assert len(outcomes) >= 150
    assert sum(outcome.right for outcome in outcomes) >= 0.75 * len(outcomes), report(outcomes)


def test_every_reply_ends_and_holds_no_role_token(outcomes: list[Outcome]) -> None:
    assert [o for o in outcomes if not o.reply.ended or o.reply.role_tokens] == []
    assert max(outcome.reply.tokens for outcome in outcomes) < LONGEST_REPLY


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_answers_as_well(dtype: torch.dtype) -> None:
    questions = read_questions(HELD_OUT)[::4]
    outcomes = answer(Guide(dtype=dtype), questions)
    assert sum(outcome.right for outcome in outcomes) >= 0.7 * len(outcomes), report(outcomes)


def test_batched_replies_equal_single_ones(guide: Guide) -> None:
    asked = ("How do I stop a reply?", "Which key retries?", "hello", "What is a token?")
    prompts = [guide.prompt([], question) for question in asked]
    assert guide.replies(prompts) == [guide.replies([prompt])[0] for prompt in prompts]


def test_it_still_answers_at_the_end_of_a_long_chat(guide: Guide) -> None:
    exchange = ("What is the KV cache?", "The KV cache keeps what the model computed.")
    small_talk = ("Thanks!", "You are welcome!")
    turns = [exchange, small_talk] * 55
    prompt = guide.prompt(turns, "How do I quit?")
    assert 1500 < len(prompt) < 2048 - 80
    reply = guide.replies([prompt])[0]
    assert reply.ended and "Ctrl+Q" in reply.text


def test_questions_are_scored_by_any_and_all() -> None:
    question = Question(("?",), ("ctrl+r", "/retry"), ("reply",))
    assert question.is_answered_by("Press Ctrl+R: the last reply again.")
    assert not question.is_answered_by("Press Ctrl+R.")
    assert not question.is_answered_by("The reply.")
