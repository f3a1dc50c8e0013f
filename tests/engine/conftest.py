"""A tiny real GPT-NeoX with a byte-level tokenizer, made on the spot, without a download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tui_chat.engine.replies.generation import ReplyWriter
    from tui_chat.engine.text.tokenizer import HFEncoder

ENDOFTEXT = "<|endoftext|>"
PADDING = "<|padding|>"
TAGS = (
    "<|prompter|>",
    "<|assistant|>",
    "<|system|>",
    "<|prefix_begin|>",
    "<|prefix_end|>",
)
_SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "What is a meme, and what is the history behind this word?",
    "A token is a piece of a word. The context is what the model can see.",
    "    def main():\n        return 0\n",
)

ModelFactory = Callable[..., Path]
"""`make_model_dir(path, **config)`: see `build_model_dir`."""


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Tiny matrices are quicker on one thread, and the machine is shared."""
    import torch

    torch.set_num_threads(1)


def build_tokenizer(directory: Path, tags: tuple[str, ...] = TAGS) -> int:
    """Save a byte-level BPE tokenizer with the flagship's layout: end 0, padding 1, tags last.

    Returns:
        The number of ids, tags included.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=[ENDOFTEXT, PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=ENDOFTEXT,
        eos_token=ENDOFTEXT,
        unk_token=ENDOFTEXT,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(tags)})
    tokenizer.save_pretrained(directory)
    return len(tokenizer)


def build_model_dir(path: Path, tags: tuple[str, ...] = TAGS, **config: Any) -> Path:
    """Save a tiny GPT-NeoX and its tokenizer to a directory.

    Args:
        path: The directory, made if missing.
        tags: The role tags that the tokenizer gets as special tokens.
        config: Values of `GPTNeoXConfig` over those of the tiny model. `dtype` is the type that
            the weights are saved in (fp32 if left out).

    Returns:
        The directory.
    """
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    path.mkdir(parents=True, exist_ok=True)
    ids = build_tokenizer(path, tags)
    values: dict[str, Any] = {
        "vocab_size": (ids + 8 + 15) // 16 * 16,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 2048,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "tie_word_embeddings": False,
    }
    dtype = config.pop("dtype", torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**{**values, **config}))
    model.to(dtype).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def make_model_dir() -> ModelFactory:
    """The factory: `make_model_dir(path, **config)`."""
    return build_model_dir


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tiny model in fp32 safetensors. Read only: copy it to change it."""
    return build_model_dir(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def encoder(tiny_model_dir: Path) -> HFEncoder:
    """The tokenizer of the tiny model."""
    from tests.engine.replies import load_encoder

    return load_encoder(tiny_model_dir)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Any:
    """The tiny model."""
    from tests.engine.replies import load_model

    return load_model(tiny_model_dir)


@pytest.fixture
def writer(model: Any, encoder: HFEncoder) -> ReplyWriter:
    """Writes its replies, with a prompt read in several pieces."""
    from tui_chat.engine.replies.generation import ReplyWriter

    return ReplyWriter(model, encoder, chunk=16)
