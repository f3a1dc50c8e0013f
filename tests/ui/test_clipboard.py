"""A copy goes every way there is, and the user is told which."""

from __future__ import annotations

import base64
import os
import re
import stat
import sys
import time
from pathlib import Path

import pytest

from tui_chat.config import paths
from tui_chat.ui import clipboard
from tui_chat.ui.clipboard import (
    KEPT_COPIES,
    OSC52_LIMIT,
    CopyResult,
    copy,
    osc52_sequence,
    osc52_support,
)

XTERM = {"TERM": "xterm-256color", "PATH": "/nonexistent"}
KITTY = {"TERM": "xterm-kitty", "PATH": "/nonexistent"}
CONSOLE = {"TERM": "linux", "PATH": "/nonexistent"}


def pasted(sequence: str) -> str:
    """What a terminal would put into its clipboard."""
    found = re.search("\x1b]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    assert found is not None
    return base64.b64decode(found[1]).decode("utf-8")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for stand-ins of the clipboard tools, which write what they get to a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def install(folder: Path, name: str, body: str = "cat > {folder}/{name}.got") -> None:
    script = folder / name
    script.write_text("#!/bin/sh\nPATH=/usr/bin:/bin\n" + body.format(folder=folder, name=name))
    script.chmod(0o755)


def got(folder: Path, name: str) -> bytes:
    return (folder / f"{name}.got").read_bytes()


def test_a_terminal_known_for_osc52_needs_nothing_else() -> None:
    written: list[str] = []
    result = copy("höhe\n", written.append, KITTY)
    assert result == CopyResult(("OSC 52",), None, "Copied with OSC 52.")
    assert pasted("".join(written)) == "höhe\n"


def test_where_nobody_knows_the_text_is_in_a_private_file_too() -> None:
    written: list[str] = []
    result = copy("text", written.append, XTERM)
    assert result.how == ("OSC 52",)
    assert pasted(written[0]) == "text"
    assert result.path is not None
    assert result.path.parent == paths.cache_dir() / "copies"
    assert result.path.read_text() == "text"
    assert stat.S_IMODE(result.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(result.path.parent.stat().st_mode) == 0o700
    assert result.detail == f"OSC 52 was sent; if nothing arrives, it is also in {result.path}"


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
@pytest.mark.parametrize(
    ("name", "display"),
    [
        ("xclip", {"DISPLAY": ":0"}),
        ("xsel", {"DISPLAY": ":0"}),
        ("wl-copy", {"WAYLAND_DISPLAY": "w"}),
    ],
)
def test_the_desktops_tool_is_used_beside_the_terminal(
    tools: Path, name: str, display: dict[str, str]
) -> None:
    install(tools, name)
    written: list[str] = []
    result = copy("é x", written.append, {**XTERM, **display, "PATH": str(tools)})
    assert result == CopyResult(("OSC 52", name), None, f"Copied with OSC 52 and {name}.")
    assert got(tools, name) == "é x".encode()
    without_display = copy("é", written.append, {**XTERM, "PATH": str(tools)})
    assert name not in without_display.how


def test_windows_under_linux_gets_utf_16(tools: Path) -> None:
    install(tools, "clip.exe")
    result = copy("é", lambda _: None, {**CONSOLE, "WSL_DISTRO_NAME": "d", "PATH": str(tools)})
    assert result.how == ("clip.exe",)
    assert got(tools, "clip.exe").decode("utf-16") == "é"


def test_a_tool_that_fails_or_hangs_gives_way_to_the_next(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipboard, "TOOL_TIMEOUT_S", 0.2)
    install(tools, "wl-copy", "exec sleep 30")
    install(tools, "xclip", "exit 3")
    install(tools, "xsel")
    env = {**CONSOLE, "DISPLAY": ":0", "WAYLAND_DISPLAY": "w", "PATH": str(tools)}
    started = time.monotonic()
    assert copy("x", lambda _: None, env).how == ("xsel",)
    assert time.monotonic() - started < 10


def test_a_tool_that_stays_in_the_background_does_not_hold_the_copy(tools: Path) -> None:
    install(tools, "xclip", "cat > {folder}/xclip.got; sleep 60 &")
    env = {**CONSOLE, "DISPLAY": ":0", "PATH": str(tools)}
    started = time.monotonic()
    assert copy("x" * 200_000, lambda _: None, env).how == ("xclip",)
    assert time.monotonic() - started < 10


def test_text_too_long_for_the_terminal_goes_to_a_file() -> None:
    written: list[str] = []
    text = "x" * OSC52_LIMIT
    result = copy(text, written.append, KITTY)
    assert not written
    assert result.how == ()
    assert result.path is not None
    assert result.path.read_text() == text
    assert result.detail == f"Too long for the terminal's clipboard; it is in {result.path}"
    copy("x" * (OSC52_LIMIT // 4 * 3 - 3), written.append, KITTY)
    assert len(written) == 1


@pytest.mark.parametrize("term", ["linux", "dumb", "", "vt100"])
def test_a_terminal_without_a_clipboard_gets_no_sequence(term: str) -> None:
    written: list[str] = []
    result = copy("x", written.append, {"TERM": term, "PATH": "/nonexistent"})
    assert not written
    assert result.ok
    assert result.detail.startswith("This terminal has no clipboard; it is in /")


def test_in_tmux_the_sequence_is_sent_plain_and_wrapped() -> None:
    env = {**KITTY, "TMUX": "/tmp/t,1,0"}
    plain, wrapped, end = osc52_sequence("QUJD", env).partition("\x1bPtmux;")
    assert plain == "\x1b]52;c;QUJD\x07"
    assert end == "\x1b\x1b]52;c;QUJD\x07\x1b\\"
    assert wrapped
    assert osc52_support(env) == "unknown"


def test_tmux_gets_the_text_into_its_own_buffer(tools: Path) -> None:
    install(tools, "tmux", 'echo "$@" > {folder}/args; cat > {folder}/{name}.got')
    result = copy("text", lambda _: None, {**XTERM, "TMUX": "t", "PATH": str(tools)})
    assert result.how == ("OSC 52", "tmux")
    assert got(tools, "tmux") == b"text"
    assert (tools / "args").read_text() == "load-buffer -w -\n"
    assert result.detail == (
        f"OSC 52 and tmux were sent the text; if nothing arrives, it is also in {result.path}"
    )


def test_a_remote_mac_is_not_the_users_clipboard(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    install(tools, "pbcopy")
    env = {**XTERM, "PATH": str(tools)}
    assert copy("x", lambda _: None, env).how == ("OSC 52", "pbcopy")
    assert "pbcopy" not in copy("x", lambda _: None, {**env, "SSH_TTY": "/dev/pts/1"}).how


def test_what_a_shell_would_obey_is_not_copied() -> None:
    written: list[str] = []
    result = copy("ls\x1b[201~\r\nrm\x9b\u202e\ud800\t👩‍🚀", written.append, XTERM)
    assert pasted(written[0]) == "ls[201~\nrm\N{REPLACEMENT CHARACTER}\t👩‍🚀"
    assert result.path is not None
    assert result.path.read_text(encoding="utf-8") == pasted(written[0])


def test_only_the_newest_copies_are_kept() -> None:
    made = [copy(str(number), lambda _: None, CONSOLE).path for number in range(KEPT_COPIES + 3)]
    kept = set((paths.cache_dir() / "copies").iterdir())
    assert len(kept) == KEPT_COPIES
    assert made[-1] in kept


def test_without_any_way_the_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Path:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(paths, "private_dir", refuse)
    nowhere = copy("x", lambda _: None, CONSOLE)
    assert not nowhere.ok
    assert "Nothing was copied" in nowhere.detail
    assert "No space left on device" in nowhere.detail
    sent = copy("x", lambda _: None, XTERM)
    assert sent.ok
    assert sent.detail == "OSC 52 was sent; whether it arrives is up to the terminal."


def test_a_closed_terminal_is_no_way() -> None:
    def closed(_: str) -> None:
        raise OSError(5, "Input/output error")

    result = copy("x", closed, KITTY)
    assert result.how == ()
    assert result.path is not None
