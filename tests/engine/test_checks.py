"""The checks after loading, one by one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from threading import Event

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer

from tests.engine.conftest import TAGS, ModelFactory
from tui_chat.chat.templates import TEMPLATES
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.loading.checks import (
    check_control_tokens,
    check_token_ids,
    check_weights,
    control_tokens,
)
from tui_chat.engine.loading.loader import LoadedModel, free, load
from tui_chat.engine.loading.preflight import plan_load
from tui_chat.errors import ModelLoadError


def load_directory(directory: Path) -> LoadedModel:
    plan = plan_load(LoadRequest(str(directory), precision="fp32"), Registry({}))
    return load(plan, Registry({}), lambda _: None, Event())


@pytest.fixture
def directory(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def set_end(directory: Path, **ends: object) -> None:
    """Write end tokens into config.json and generation_config.json."""
    for name, value in ends.items():
        path = directory / f"{name}.json"
        content = json.loads(path.read_text())
        content["eos_token_id"] = value
        path.write_text(json.dumps(content))


def test_padding_rows_are_found(tiny_model_dir: Path) -> None:
    loaded = load_directory(tiny_model_dir)

    assert loaded.padding_ids == tuple(range(345, 368))
    free(loaded)


def test_end_token_is_the_tokenizers_and_a_wrong_one_is_flagged(directory: Path) -> None:
    set_end(directory, config=2, generation_config=2)

    loaded = load_directory(directory)

    assert loaded.end_ids == (0,)
    assert loaded.model.config.eos_token_id == 0
    assert loaded.model.generation_config.eos_token_id == [0]
    assert loaded.model.generation_config.pad_token_id == 1
    (warning,) = loaded.info.warnings
    assert "config.json names token 2" in warning
    assert "<|endoftext|> (0)" in warning
    free(loaded)


def test_further_special_end_tokens_are_kept(directory: Path) -> None:
    set_end(directory, config=None, generation_config=[341, 0])

    loaded = load_directory(directory)

    assert loaded.end_ids == (0, 341)
    assert loaded.info.warnings == ()
    free(loaded)


def test_broken_generation_config_is_ignored(directory: Path) -> None:
    (directory / "generation_config.json").write_text("{")

    loaded = load_directory(directory)

    assert loaded.end_ids == (0,)
    free(loaded)


def test_control_tokens_of_every_template() -> None:
    assert set(control_tokens("oasst")) == set(TAGS)
    assert set(control_tokens("oasst-prefix")) == set(TAGS)
    assert control_tokens("chatml") == ("<|im_start|>", "<|im_end|>")
    assert control_tokens("raw") == ()
    assert control_tokens("auto") == ()
    assert all(isinstance(control_tokens(name), tuple) for name in TEMPLATES)


def test_added_control_tokens_become_special_and_keep_their_ids(
    make_model_dir: ModelFactory, tmp_path: Path
) -> None:
    directory = make_model_dir(tmp_path / "loose", tags=())
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_tokens([AddedToken(tag, special=False) for tag in TAGS])
    ids = tokenizer.convert_tokens_to_ids(list(TAGS))
    text = "x<|assistant|>y"
    assert ids[1] in tokenizer(text, split_special_tokens=True)["input_ids"]

    check_control_tokens(tokenizer, "oasst", directory)

    assert tokenizer.convert_tokens_to_ids(list(TAGS)) == ids
    assert all(tokenizer.added_tokens_decoder[index].special for index in ids)
    assert ids[1] not in tokenizer(text, split_special_tokens=True)["input_ids"]


def test_token_ids_must_have_rows(tiny_model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)

    assert check_token_ids(tokenizer, 345, tiny_model_dir) == ()
    assert check_token_ids(tokenizer, 346, tiny_model_dir) == (345,)
    with pytest.raises(ModelLoadError, match="token ids up to 344"):
        check_token_ids(tokenizer, 344, tiny_model_dir)


@pytest.mark.parametrize(
    "name",
    ["gpt_neox.layers.3.attention.rotary_emb.inv_freq", "gpt_neox.layers.3.attention.bias",
     "gpt_neox.layers.3.attention.masked_bias", "model.rotary_emb.inv_freq",
     "transformer.h.0.attn.bias", "model.layers.0.self_attn.rotary_emb.inv_freq"],
)  # fmt: skip
def test_computed_buffers_may_be_missing_or_extra(name: str, tmp_path: Path) -> None:
    check_weights({"missing_keys": {name}, "unexpected_keys": {name}}, tmp_path)


@pytest.mark.parametrize(
    ("info", "cause"),
    [
        ({"missing_keys": {"b.weight", "a.weight"}}, "lack a.weight and 1 more"),
        ({"unexpected_keys": {"gpt_neox.layers.0.attention.dense.bias"}}, "hold gpt_neox"),
        ({"mismatched_keys": {("a.weight", (2, 3), (4, 3))}}, "a.weight is 2x3 where config.json"),
        ({"error_msgs": ["size\x1b mismatch"]}, "do not fit"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    info: dict[str, object], cause: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelLoadError) as caught:
        check_weights(info, tmp_path)

    assert cause in caught.value.detail
    assert "\x1b" not in caught.value.one_line
