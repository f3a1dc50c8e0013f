"""A draft model makes replies quicker at best, and never another text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.engine.conftest import build_tokenizer
from tests.engine.replies import PROMPT, load_model, request, tokens
from tui_chat.chat.events import EngineEvent, Finished, Loading
from tui_chat.chat.params import NEUTRAL, SamplingParams
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files.registry import Registry, load_registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.engine.local import LocalBackend
from tui_chat.engine.replies.draft import DraftModel
from tui_chat.engine.replies.speculation import PromptLookup
from tui_chat.errors import LoadCancelledError

GREEDY = NEUTRAL.with_values({"temperature": 0, "max_new_tokens": 80})
SAMPLED = NEUTRAL.with_values({"temperature": 0.5, "max_new_tokens": 80})


@pytest.fixture(scope="module")
def registry(make_model_dir: Callable[..., Path], tmp_path_factory: Any) -> Registry:
    """`large` has drafts: its own weights with more rows of padding and without the role tags, as
    Pythia's has; one that knows nothing; one with other tokens; and one that is not there.
    """
    folder = tmp_path_factory.mktemp("drafts")
    large = make_model_dir(folder / "large", initializer_range=0.2)
    same = folder / "same"
    build_tokenizer(same, tags=())
    model = load_model(large)
    model.resize_token_embeddings(416, mean_resizing=False)
    model.save_pretrained(same)
    ignorant = make_model_dir(folder / "ignorant", num_hidden_layers=1, vocab_size=345)
    foreign = make_model_dir(folder / "foreign", tags=())
    text = (foreign / "tokenizer.json").read_text()
    (foreign / "tokenizer.json").write_text(text.replace("Ġ", "~"))
    drafts = {
        "plain": None, "drafted": str(same), "misled": str(ignorant), "mixed": str(foreign),
        "alone": str(folder / "nowhere"),
    }  # fmt: skip
    return Registry(
        {name: ModelSpec(name, str(large), template="oasst", draft=d) for name, d in drafts.items()}
    )


@pytest.fixture
def backend(registry: Registry) -> Iterator[LocalBackend]:
    backend = LocalBackend(registry, threads=1)
    yield backend
    backend.unload()


def load(backend: LocalBackend, name: str) -> list[EngineEvent]:
    backend.unload()
    events: list[EngineEvent] = []
    backend.load(LoadRequest(name, precision="fp32", device="cpu"), events.append, Event())
    return events


def reply(backend: LocalBackend, params: SamplingParams, ids: tuple[int, ...] = PROMPT) -> Any:
    events: list[EngineEvent] = []
    backend.generate(request(ids, params), events.append, Event())
    assert isinstance(events[-1], Finished), events[-1]
    return tokens(events)


@pytest.fixture
def passes(backend: LocalBackend) -> Callable[[], int]:
    """Counts forward passes of the large model, and lets guesses always be worth it."""
    counted = [0]

    def start() -> int:
        before, counted[0] = counted[0], 0
        loaded, writer = backend._loaded, backend._writer
        assert loaded is not None and writer is not None
        for payoff in writer._guesser._payoffs.values():
            payoff._plain_s = 1e9
        loaded.model.register_forward_hook(lambda *_: counted.__setitem__(0, counted[0] + 1))
        return before

    return start


@pytest.mark.parametrize("params", [GREEDY, SAMPLED])
@pytest.mark.parametrize("name", ["drafted", "misled"])
def test_the_text_is_that_of_the_large_model(
    backend: LocalBackend, name: str, params: SamplingParams, passes: Callable[[], int]
) -> None:
    load(backend, "plain")
    expected = reply(backend, params)
    longer = (*PROMPT, *expected, *PROMPT)
    expected_next = reply(backend, params, longer)
    load(backend, name)
    passes()

    assert reply(backend, params.with_values({"speculate": 4})) == expected
    assert reply(backend, params.with_values({"speculate": 4}), longer) == expected_next


def test_a_draft_that_knows_saves_passes(
    backend: LocalBackend, passes: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the text itself suggests is right or wrong by the processor's rounding.
    monkeypatch.setattr(PromptLookup, "guess", lambda *_: [])
    load(backend, "drafted")
    passes()
    written = reply(backend, GREEDY.with_values({"speculate": 4}))

    # Five tokens with a pass, but for the first ones.
    assert len(written) == 80
    assert passes() <= 80 / 5 + 3


def test_it_is_loaded_and_freed_with_its_model(backend: LocalBackend) -> None:
    events = load(backend, "drafted")
    loaded = backend.info
    assert loaded is not None
    assert loaded.draft.endswith("same")
    assert loaded.warnings == ()
    assert {event.model for event in events if isinstance(event, Loading)} == {
        "drafted", loaded.draft,
    }  # fmt: skip
    draft = backend._draft
    assert isinstance(draft, DraftModel)
    backend.unload()
    assert backend._draft is None
    assert draft._model is None


@pytest.mark.parametrize(
    ("name", "reason"), [("mixed", "Its tokens are others"), ("alone", "nowhere")]
)
def test_what_cannot_be_a_draft_is_a_warning(backend: LocalBackend, name: str, reason: str) -> None:
    load(backend, name)
    loaded = backend.info
    assert loaded is not None
    assert loaded.draft == ""
    (warning,) = loaded.warnings
    assert warning.startswith("The draft model ")
    assert reason in warning
    assert reply(backend, GREEDY.with_values({"speculate": 4}))


def test_stopping_while_it_loads_leaves_no_model(backend: LocalBackend) -> None:
    cancel = Event()

    def stop_at_draft(event: EngineEvent) -> None:
        if isinstance(event, Loading) and event.model.endswith("same"):
            cancel.set()

    request = LoadRequest("drafted", precision="fp32", device="cpu")
    with pytest.raises(LoadCancelledError):
        backend.load(request, stop_at_draft, cancel)
    assert backend.info is None
    assert backend.encoder is None
    load(backend, "drafted")


def test_models_toml_names_it(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text('[models.guide]\ndraft = "pythia-160m"\n')
    registry = load_registry(user=file)
    assert registry.problems == ()
    assert registry.models["guide"].draft == "pythia-160m"
    assert registry.models["oasst-12b"].draft is None
