"""Trains the built-in model: `python -m tui_chat.guide.train`.

Seeded; two CPU cores are enough. Prints training and held-out loss and writes a directory that
`AutoModelForCausalLM` loads.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import GenerationConfig, GPTNeoXConfig, GPTNeoXForCausalLM

from tui_chat.guide import evaluate, model_card, topics
from tui_chat.guide.dialogues import DialogueSource
from tui_chat.guide.tokens import (
    END,
    PADDING,
    POSITIONS,
    DialogueEncoder,
    Example,
    save_tokenizer,
    train_tokenizer,
)

WEIGHTS = Path(__file__).parent / "weights"
PEAK_RATE = 2e-3
BATCH_TOKENS = 3072
POOL = 768
CUT_SHARE = 0.8
EMBEDDING_DROPOUT = 0.1
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded ids and labels, both of shape [batch, tokens]."""

    ids: torch.Tensor
    labels: torch.Tensor


def build_model(tokenizer: Tokenizer, layers: int, width: int) -> GPTNeoXForCausalLM:
    """Return a GPT-NeoX of the guide's shape with fresh weights.

    Args:
        tokenizer: The tokenizer, which determines the rows of the embedding.
        layers: Number of layers.
        width: Width of the residual stream, a multiple of 64, which is the size of a head.
    """
    rows = math.ceil(tokenizer.get_vocab_size() / 16) * 16
    config = GPTNeoXConfig(
        vocab_size=rows,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        rotary_pct=0.25,
        max_position_embeddings=POSITIONS,
        hidden_dropout=0.0,
        bos_token_id=tokenizer.token_to_id(END),
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PADDING),
        tie_word_embeddings=False,
    )
    return GPTNeoXForCausalLM(config)


def batches(source: DialogueSource, encoder: DialogueEncoder, seed: int) -> Iterator[Batch]:
    """Yield batches of about `BATCH_TOKENS` tokens from dialogues of similar length.

    A few dialogues in each pool are long, to train late positions.
    """
    rng = random.Random(seed)
    endless = source.endless()
    while True:
        # The first words of a reply show which fact the model chose. Most examples stop there, so
        # that the same training time covers twice as many questions.
        cuts = [rng.randint(7, 15) if rng.random() < CUT_SHARE else 0 for _ in range(POOL)]
        pool = [encoder.example(next(endless), cut) for cut in cuts]
        for _ in range(2):
            pool.append(encoder.example(source.dialogue(rng.randint(24, 40))))
        pool.sort(key=lambda example: len(example.ids) + rng.randrange(8))
        groups: list[list[Example]] = [[]]
        for example in pool:
            if groups[-1] and len(example.ids) * (len(groups[-1]) + 1) > BATCH_TOKENS:
                groups.append([])
            groups[-1].append(example)
        rng.shuffle(groups)
        yield from (_padded(group) for group in groups)


def _padded(examples: list[Example]) -> Batch:
    longest = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    labels = torch.full((len(examples), longest), _IGNORED)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    return Batch(ids, labels)


def loss_of(model: GPTNeoXForCausalLM, batch: Batch) -> torch.Tensor:
    """Return the mean cross entropy of the learned tokens, in nats.

    Padding is on the right and attention is causal, so no attention mask is needed. The output
    layer runs only at learned positions.
    """
    hidden = model.gpt_neox(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1]
    targets = batch.labels[:, 1:]
    learned = targets != _IGNORED
    logits = model.get_output_embeddings()(hidden[learned])
    return nn.functional.cross_entropy(logits.float(), targets[learned])


@torch.no_grad()
def held_out_loss(model: GPTNeoXForCausalLM, validation: list[Batch]) -> float:
    """Return the mean loss over the validation batches, in nats per token."""
    model.eval()
    losses = [loss_of(model, batch).item() for batch in validation]
    model.train()
    return sum(losses) / len(losses)


def save(model: GPTNeoXForCausalLM, tokenizer: Tokenizer, out: Path, card: str) -> None:
    """Write the model in fp16, and replace the old directory by renaming."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    half = GPTNeoXForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half = half.to(torch.float16)
    half.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    half.save_pretrained(fresh)
    save_tokenizer(tokenizer, fresh)
    (fresh / "MODEL_CARD.md").write_text(card, "utf-8")
    fresh.chmod(0o755)  # mkdtemp creates it with 0700
    for file in fresh.iterdir():
        file.chmod(0o644)
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
        out.rename(old / out.name)
        fresh.rename(out)
        shutil.rmtree(old)
    else:
        fresh.rename(out)


def _rate(peak: float, step: int, steps: int) -> float:
    warm = max(1, min(100, steps // 20))
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def _optimisers(model: GPTNeoXForCausalLM) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the layers, and AdamW for embeddings, biases and norms."""
    hidden, tables, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            vectors.append(parameter)
        elif ".layers." in name:
            hidden.append(parameter)
        else:
            tables.append(parameter)
    groups = [{"params": tables, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return [
        torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98)),
        torch.optim.Muon(
            hidden, lr=PEAK_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw", ns_steps=4
        ),
    ]


def _tokenizer_texts(source: DialogueSource) -> Iterator[str]:
    endless = source.endless()
    for _ in range(24_000):
        yield from (turn.text for turn in next(endless))


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a training run."""

    out: Path
    steps: int
    seed: int
    rate: float
    """The peak learning rate."""
    layers: int
    width: int
    start: Path | None
    """A trained model to continue from, with its tokenizer; None starts from scratch."""


def _beginning(plan: Plan, corpus: topics.Corpus) -> tuple[Tokenizer, GPTNeoXForCausalLM]:
    if plan.start is not None:
        model = GPTNeoXForCausalLM.from_pretrained(plan.start, dtype=torch.float32)
        return Tokenizer.from_file(str(plan.start / "tokenizer.json")), model
    tokenizer = train_tokenizer(_tokenizer_texts(DialogueSource(corpus, plan.seed + 1)))
    return tokenizer, build_model(tokenizer, plan.layers, plan.width)


def train(plan: Plan) -> None:
    """Train, and write the model to `plan.out` at intervals and at the end."""
    steps, seed, out = plan.steps, plan.seed, plan.out
    torch.manual_seed(seed)
    torch.set_num_threads(2)
    corpus = topics.build(seed)
    tokenizer, model = _beginning(plan, corpus)
    encoder = DialogueEncoder(tokenizer, seed, dropout=0.25)
    stream = batches(DialogueSource(corpus, seed), encoder, seed)
    checks = batches(DialogueSource(corpus, seed, True), DialogueEncoder(tokenizer), seed)
    validation = [next(checks) for _ in range(10)]
    optimisers = _optimisers(model)
    wordings = sum(1 for _ in corpus.wordings())
    millions = model.num_parameters() / 1e6
    print(f"{len(corpus.topics)} topics, {wordings} wordings, "
          f"{millions:.2f} M parameters, {steps} steps", flush=True)  # fmt: skip
    before = model_card.steps_of(plan.start) if plan.start is not None else ""
    started = time.monotonic()
    seen, recent = 0, 0.0
    model.train()
    model.gpt_neox.emb_dropout.p = EMBEDDING_DROPOUT
    for step in range(steps):
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = _rate(plan.rate, step, plan.steps)
        batch = next(stream)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        seen += batch.ids.numel()
        recent += (loss.item() - recent) / min(step + 1, 100)
        last = step + 1 == steps
        if last or (step + 1) % 200 == 0:
            held_out = held_out_loss(model, validation)
            minutes = (time.monotonic() - started) / 60
            print(f"step {step + 1}/{steps}  train {recent:.4f}  held-out {held_out:.4f}  "
                  f"{seen / minutes / 60:.0f} tokens/s  {minutes:.1f} min", flush=True)  # fmt: skip
            if last or (step + 1) % 400 == 0:
                card = model_card.text(
                    model.num_parameters(), step + 1, recent, held_out, minutes, before
                )
                save(model, tokenizer, out, card)
    _score(out)


def _score(out: Path) -> None:
    """Score the finished model on `questions.toml`, and add the result to its card."""
    outcomes = evaluate.answer(evaluate.Guide(out), evaluate.read_questions(evaluate.QUESTIONS))
    print(evaluate.report(outcomes), flush=True)
    right = sum(outcome.right for outcome in outcomes)
    with (out / "MODEL_CARD.md").open("a", encoding="utf-8") as card:
        card.write(f"- Score: {right} of {len(outcomes)} of `questions.toml`, greedy, fp32.\n")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m tui_chat.guide.train", description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="directory to write")
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="highest learning rate")
    parser.add_argument("--start", type=Path, help="a trained model to go on from")
    train(Plan(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
