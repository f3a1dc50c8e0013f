"""Export of a chat as one self-contained HTML page, for any browser and for printing.

The page has the messages of the active path with their Markdown rendered. Nothing in a message can
act as HTML: everything is escaped, links and images stay text, and the content security policy of
the page forbids scripts and network requests.
"""

from __future__ import annotations

from functools import cache
from html import escape

from markdown_it import MarkdownIt

from tui_chat.chat.conversation import Conversation, Message
from tui_chat.chat.notes import with_note
from tui_chat.safe_text import safe_line, safe_text
from tui_chat.storage.formats.training import ExportOptions

_ROLE_NAMES = {"system": "System", "user": "You", "assistant": "Assistant", "note": "Note"}
_STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --paper: #fdfdfb; --faint: #6a7078;
  --rule: #d9dce0; --user: #2c6e49; --assistant: #3a5a98; --code: #f1f2f0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e8; --paper: #15181b; --faint: #9aa1a9;
  --rule: #33383e; --user: #8fcf9f; --assistant: #9db8ee; --code: #1f2429; } }
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } section { border-top: 1px solid var(--rule); padding: .6rem 0; }
header, .facts { color: var(--faint); font-size: .85rem; }
h2 { font-size: 1rem; margin: 0; } .user h2 { color: var(--user); }
.assistant h2 { color: var(--assistant); }
.note { border-left: 3px solid var(--rule); padding-left: .8rem; }
pre { background: var(--code); padding: .7rem; white-space: pre-wrap; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
@media print { :root { --ink: #000; --paper: #fff; --faint: #444; --rule: #bbb; --user: #000;
  --assistant: #000; --code: #f4f4f4; } body { margin: 0; max-width: none; font-size: 10.5pt; }
  h2, .facts { break-after: avoid; } pre { break-inside: avoid; } }
"""


def to_html(conversation: Conversation, options: ExportOptions | None = None) -> str:
    """Return the active path without deleted messages as an HTML page; times are in UTC."""
    title = _line(conversation.title) or "Untitled chat"
    facts = [f"{conversation.created:%Y-%m-%d %H:%M} UTC"]
    if conversation.model:
        facts.insert(0, _line(conversation.model))
    sections = [_section("system", "", conversation.system)] if conversation.system else []
    sections += [_message(m) for m in with_note(conversation.path()) if not m.deleted]
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n<header>{' · '.join(facts)}</header>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def _message(message: Message) -> str:
    facts = [f"{message.created:%Y-%m-%d %H:%M:%S} UTC"]
    if message.role != "user" and message.model:
        facts.insert(0, _line(message.model))
    if message.is_note:
        facts.insert(0, "sent in place of the messages above")
    if message.status != "complete":
        facts.append(message.status)
    if message.error:
        facts.append(_line(message.error))
    kind = "note" if message.is_note else message.role
    return _section(kind, " · ".join(facts), message.text)


def _section(role: str, facts: str, text: str) -> str:
    shown = _markdown().render(safe_text(text))
    return (
        f'<section class="{role}">\n<h2>{_ROLE_NAMES[role]}</h2>\n'
        f'<div class="facts">{facts}</div>\n{shown}</section>'
    )


def _line(text: str) -> str:
    return escape(safe_line(text))


@cache
def _markdown() -> MarkdownIt:
    """Return the Markdown renderer, which leaves HTML, links and images as text."""
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    return parser.enable("table").disable(["link", "autolink", "image", "reference"])
