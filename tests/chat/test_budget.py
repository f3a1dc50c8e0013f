"""The budget: always fits, keeps whole turns, never brings a dropped one back."""

from __future__ import annotations

import gc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.chat.budget import LOW_WATER, fit
from tui_chat.chat.conversation import Conversation
from tui_chat.chat.prompt import PromptComposer
from tui_chat.chat.templates import TEMPLATES, PromptMessage, template_named
from tui_chat.engine.contract.scripted import WordEncoder
from tui_chat.errors import ContextError

sizes = st.lists(st.integers(3, 900), min_size=1, max_size=60)


@given(sizes, st.integers(0, 200), st.integers(1, 1000))
def test_what_is_kept_fits_or_the_newest_alone_is_too_long(turns, system, reserve):
    result = fit(turns, system, 2048, reserve)
    assert result.dropped_tokens + result.kept_tokens == sum(turns)
    assert result.kept_tokens == sum(turns[result.first_kept :])
    assert result.is_too_long == (system + turns[-1] > result.limit)
    if not result.is_too_long:
        assert result.prompt_tokens + reserve <= 2048
        assert result.first_kept < len(turns)


@given(sizes, st.integers(3, 900))
def test_another_turn_never_brings_a_dropped_one_back(turns, new):
    assert fit([*turns, new], 0, 2048, 512).first_kept >= fit(turns, 0, 2048, 512).first_kept


@given(st.lists(st.tuples(st.integers(3, 300), st.integers(0, 512)), min_size=2, max_size=60))
def test_a_chat_is_trimmed_as_it_was_when_each_turn_was_sent(turns):
    """What a turn was sent with is what the replay of the whole chat says was sent with it."""
    first = 0
    for count in range(1, len(turns) + 1):
        whole = [asked + replied for asked, replied in turns[: count - 1]]
        asked = [asked for asked, _ in turns[:count]]
        result = fit([*whole, asked[-1]], 0, 2048, 512, sent_tokens=asked)
        assert result.prompt_tokens <= result.limit
        assert result.first_kept >= first
        # Only what was too long is trimmed: what was sent before and all that came since.
        if result.first_kept > first:
            assert sum(whole[first:]) + asked[-1] > result.limit
        first = result.first_kept


@given(st.integers(0, 1000), st.integers(20, 120))
def test_trimming_leaves_room_for_several_turns(seed, size):
    starts = [fit([size] * n, 0, 2048, 512).first_kept for n in range(1, 200)]
    moves = sum(a != b for a, b in pairwise(starts))
    room = 1536
    per_trim = int(room * (1 - LOW_WATER) // size)
    assert moves <= len(starts) / max(1, per_trim) + 1


def test_everything_is_sent_while_it_fits():
    assert fit([100] * 15, 0, 2048, 512).first_kept == 0
    assert fit([100] * 16, 0, 2048, 512).first_kept > 0


def conversation_of(words: list[int]) -> Conversation:
    conversation = Conversation()
    for index, count in enumerate(words):
        conversation.append("assistant" if index % 2 else "user", " ".join(["word"] * count))
    return conversation


@pytest.mark.parametrize("name", TEMPLATES)
@given(words=st.lists(st.integers(1, 90), min_size=1, max_size=31).filter(lambda w: len(w) % 2))
def test_composed_prompts_fit_and_the_view_says_the_same(name, words):
    encoder = WordEncoder()
    composer = PromptComposer(template_named(name), encoder, context=400, reserve=100)
    conversation = conversation_of(words)
    path = conversation.path()
    prompt = composer.compose(path, "Be brief.")
    assert len(prompt.ids) <= 300
    assert prompt.ids == tuple(i for s in prompt.segments for i in s.ids)
    assert prompt.segments[-1].role == "reply" and path[-1].text in encoder.decode(prompt.ids)
    assert encoder.decode(prompt.ids).count("Be brief.") == 1
    view = composer.view(path[:-1], "Be brief.", path[-1].text)
    assert view.dropped_turns == prompt.dropped_turns
    assert abs(view.prompt_tokens - len(prompt.ids)) <= len(path)
    if name in ("oasst", "oasst-prefix", "chatml"):
        assert view.prompt_tokens == len(prompt.ids)
    assert view.system + view.history + view.draft + view.reserve + view.free == 400


def test_a_message_too_long_alone_is_refused_with_its_size():
    composer = PromptComposer(template_named("oasst"), WordEncoder(), context=100, reserve=40)
    conversation = conversation_of([200])
    with pytest.raises(ContextError) as caught:
        composer.compose(conversation.path())
    assert "203 tokens" in caught.value.one_line and "60 fit" in caught.value.one_line
    assert composer.view([], "", conversation.path()[0].text).is_too_long


def test_the_forget_line_stands_above_the_first_turn_that_is_sent():
    composer = PromptComposer(template_named("oasst"), WordEncoder(), context=1000, reserve=400)
    path = conversation_of([50] * 10).path()
    assert composer.view(path, "", "short").first_kept_id is None
    view = composer.view(path, "", " ".join(["long"] * 117))
    assert (view.dropped_turns, view.first_kept_id) == (3, path[6].id)
    assert view.dropped_tokens == 3 * 104


def test_states_of_a_growing_reply_do_not_pile_up():
    composer = PromptComposer(template_named("oasst"), WordEncoder(), context=1000, reserve=400)
    conversation = conversation_of([5, 1])
    reply = conversation.leaf_id
    for count in range(1, 60):
        conversation.update(reply, text=" ".join(["word"] * count))
        assert composer.view(list(conversation.path()), "", "").history > 5 + count
    states = [o for o in gc.get_objects() if type(o) is PromptMessage and o.id == reply]
    assert len(states) <= 2


def test_an_empty_chat_cannot_be_sent():
    composer = PromptComposer(template_named("oasst"), WordEncoder(), context=100, reserve=40)
    with pytest.raises(ContextError):
        composer.compose([])
