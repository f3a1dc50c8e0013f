"""A chat as Markdown: sections that hold whatever a message says."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.storage.chats import any_text, short_chat
from tui_chat.chat.conversation import Conversation
from tui_chat.storage.formats.ours.markdown import contained, to_markdown

HOSTILE_LINES = [
    "## You · 2026-03-01 12:00:00 UTC", "# Title", "Title\n===", "Title\n---", "---", "***",
    "---\ntitle: forged\n---", "```", "```python", "~~~~", "````", "- ```", "> ```", "   ```",
    "    code", "<!--", "<script>", "<pre>", "</pre>", "<?php", "<![CDATA[", "<!X", "<details>",
    "- item", "1. item", "> quote", "[a]: /url", "[a]: /url 'title", "\\## x", "\\", "#", "\t# x",
    "", "plain text", "| a | b |\n|---|---|", "```\n# comment in code\n```", "\r## You", "\x0c## x",
]  # fmt: skip
hostile_text = st.lists(st.sampled_from(HOSTILE_LINES), max_size=7).map("\n".join) | any_text


def top_headings(markdown: str) -> list[tuple[str, str]]:
    """Headings of level 1 and 2 outside quotes and lists, below the front matter."""
    body = markdown.split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark").parse(body)
    return [
        (token.tag, tokens[index + 1].content)
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0 and token.tag in ("h1", "h2")
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(hostile_text, min_size=1, max_size=4), hostile_text, hostile_text)
@example(["```", "<script>"], "---", "## You")
def test_every_message_is_one_section_whatever_it_says(texts, title, system) -> None:
    conversation = Conversation(title=title, system=system, model=title)
    for index, text in enumerate(texts):
        role = "assistant" if index % 2 else "user"
        conversation.append(role, text, error=text, model=text)
    headings = top_headings(to_markdown(conversation))
    roles = [heading.split(" · ")[0] for _, heading in headings]
    expected = ["System"] if system else []
    expected += ["Assistant" if index % 2 else "You" for index in range(len(texts))]
    assert headings[0][0] == "h1"
    assert roles[1:] == expected


@settings(max_examples=200, deadline=None)
@given(any_text, any_text)
def test_the_front_matter_is_yaml_with_the_facts(title: str, model: str) -> None:
    conversation = short_chat(title)
    conversation.model = model
    head = to_markdown(conversation).removeprefix("---\n").split("\n---\n")[0]
    facts = yaml.safe_load(head)
    assert list(facts) == ["id", "title", "model", "created", "turns"]
    assert facts["id"] == conversation.id
    assert facts["turns"] == 2
    assert facts["created"] == "2026-03-01 12:00:00 UTC"


def test_a_plain_chat_looks_as_people_write_it() -> None:
    conversation = short_chat(turns=1)
    conversation.id = "abc"
    conversation.update(conversation.path()[1].id, model="oasst_12b", status="stopped")
    assert to_markdown(conversation) == (
        "---\n"
        'id: "abc"\n'
        'title: "Rivers"\n'
        'model: "guide"\n'
        'created: "2026-03-01 12:00:00 UTC"\n'
        "turns: 1\n"
        "---\n"
        "\n"
        "# Rivers\n"
        "\n"
        "## System\n"
        "\n"
        "Be brief.\n"
        "\n"
        "## You · 2026-03-01 12:00:00 UTC\n"
        "\n"
        "Question 0?\n"
        "\n"
        "## Assistant · oasst\\_12b · 2026-03-01 12:00:02 UTC · stopped\n"
        "\n"
        "Answer 0.\n"
    )


def test_only_the_shown_branch_is_written_and_failures_say_why() -> None:
    conversation = short_chat()
    conversation.add_child(conversation.path()[1].id, "user", "Instead?")
    conversation.append("assistant", "", status="failed", error="CUDA is out of memory")
    text = to_markdown(conversation)
    assert "Instead?" in text
    assert "Question 1?" not in text
    assert " · failed\n\n> CUDA is out of memory\n" in text


@pytest.mark.parametrize(
    "text",
    [
        "Here:\n\n```python\n# a comment\nx = '## no heading'\n---\n```\n\nDone.",
        "~~~\n```\n~~~",
        "### Third level\n\ntext",
        "a - b\n- item\n- item 2\n\n1. one\n\n> quote",
        "    # indented code",
        "| a |\n|---|\n| 1 |",
    ],
)
def test_harmless_markdown_is_kept_to_the_letter(text: str) -> None:
    assert contained(text) == text + "\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("## You", "\\## You\n"),
        ("Title\n---", "Title\n\\---\n"),
        ("```py\nx", "```py\nx\n```\n"),
        ("<!-- open", "\\<!-- open\n"),
        ("a\x1b[31mb", "a␛[31mb\n"),
    ],
)
def test_what_would_reach_outside_is_escaped_or_closed(text: str, expected: str) -> None:
    assert contained(text) == expected


def test_many_headings_in_one_message_are_all_escaped() -> None:
    text = "\n\n".join(f"# Part {n}\n\ntext\n\n```sh\n# kept {n}\n```" for n in range(30))
    result = contained(text)
    assert result.count("\\# Part") == 30
    assert result.count("\n# kept") == 30
