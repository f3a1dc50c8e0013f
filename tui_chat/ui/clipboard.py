"""Copy text to the clipboard that the user sees, and say in words which way it went.

Two ways are tried, since neither can be trusted alone: the terminal (OSC 52, which also works
over SSH) and the desktop's own tool. Where no way is certain, the text is also written to a file
whose path is returned. Never reads the clipboard.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tui_chat.config import paths
from tui_chat.safe_text import safe_line, without_controls

OSC52_LIMIT = 74_994
"""Most base64 characters that are sent; common terminals drop longer sequences in silence."""
TOOL_TIMEOUT_S = 2.0
"""How long a clipboard tool may take before it is given up."""
KEPT_COPIES = 20
"""How many copy files are kept; older ones are removed."""

Support = Literal["yes", "unknown", "no"]


@dataclass(frozen=True, slots=True)
class CopyResult:
    """Where a copied text went."""

    how: tuple[str, ...]
    """The ways that were used, as `("OSC 52", "xclip")`; empty where only the file was written."""
    path: Path | None
    """The file that holds the text too; None where the clipboard is certain to have it."""
    detail: str
    """One sentence for the user."""

    @property
    def ok(self) -> bool:
        """Whether the text went anywhere at all."""
        return bool(self.how) or self.path is not None


def copy(
    text: str,
    write_terminal: Callable[[str], object],
    environ: Mapping[str, str] | None = None,
) -> CopyResult:
    """Copy a text, without the characters that a shell or terminal could obey when it is pasted.

    Takes up to `TOOL_TIMEOUT_S` for each tool, so call it in a worker thread. Never raises for
    a way that does not work; the result says what happened.

    Args:
        text: What to copy, any length.
        write_terminal: Writes a control sequence to the terminal, as `driver.write` does; must
            be callable from the thread that this runs in.
        environ: Environment that tells terminal and desktop; by default the process's own.
    """
    env = os.environ if environ is None else environ
    text = without_controls(text)
    how: list[str] = []
    support = osc52_support(env)
    encoded = base64.b64encode(text.encode("utf-8")).decode("ascii")
    too_long = len(encoded) > OSC52_LIMIT
    if support != "no" and not too_long:
        with contextlib.suppress(OSError):
            write_terminal(osc52_sequence(encoded, env))
            how.append("OSC 52")
    tools = native_tools(env)
    tool = next((name for name, command in tools if _feed(command, name, text, env)), None)
    if tool is not None:
        how.append(tool)
    if tool is not None or (how and support == "yes"):
        return CopyResult(tuple(how), None, f"Copied with {' and '.join(how)}.")
    tmux = shutil.which("tmux", path=env.get("PATH")) if "TMUX" in env else None
    if tmux and _feed([tmux, "load-buffer", "-w", "-"], "tmux", text, env):
        how.append("tmux")  # reaches the terminal behind it only if tmux and terminal allow it
    return _with_file(text, tuple(how), too_long)


def _with_file(text: str, how: tuple[str, ...], too_long: bool) -> CopyResult:
    """Finish a copy of which nobody knows whether it arrived: keep the text in a file too."""
    sent = f"{' and '.join(how)} {'was' if len(how) == 1 else 'were'} sent the text"
    if how == ("OSC 52",):
        sent = "OSC 52 was sent"
    try:
        path = _write_copy(text)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if how:
            return CopyResult(how, None, f"{sent}; whether it arrives is up to the terminal.")
        detail = f"Nothing was copied: there is no clipboard, and no file either ({reason})."
        return CopyResult((), None, detail)
    shown = safe_line(str(path))
    if how:
        detail = f"{sent}; if nothing arrives, it is also in {shown}"
    elif too_long:
        detail = f"Too long for the terminal's clipboard; it is in {shown}"
    else:
        detail = f"This terminal has no clipboard; it is in {shown}"
    return CopyResult(how, path, detail)


# The terminal -----------------------------------------------------------------------------------


def osc52_support(env: Mapping[str, str]) -> Support:
    """What is known of a terminal's OSC 52 by the names it gives itself.

    `unknown` is the usual answer: several terminals have a setting for it, and inside tmux or
    GNU screen the outer terminal cannot be seen.
    """
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if term in ("", "dumb", "linux") or term.startswith("vt") or program == "Apple_Terminal":
        return "no"
    if "TMUX" in env or "STY" in env or term.startswith(("screen", "tmux")):
        return "unknown"
    known_terms = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "wezterm")
    if term.startswith(known_terms) or program in ("WezTerm", "ghostty"):
        return "yes"
    return "yes" if "WT_SESSION" in env and not _is_remote(env) else "unknown"


def osc52_sequence(encoded: str, env: Mapping[str, str]) -> str:
    """The sequence that asks the terminal to put base64 data into its clipboard (xterm, OSC 52).

    tmux gets it twice: plain, for its own `set-clipboard`, and wrapped for the terminal behind
    it, with every ESC doubled (tmux, `allow-passthrough`).
    """
    sequence = f"\x1b]52;c;{encoded}\x07"
    if _is_in_tmux(env):
        doubled = sequence.replace("\x1b", "\x1b\x1b")
        return f"{sequence}\x1bPtmux;{doubled}\x1b\\"
    return sequence


def _is_in_tmux(env: Mapping[str, str]) -> bool:
    """Whether this is certainly tmux. Over SSH only `TERM` is left to tell, and `screen-256color`
    may be GNU screen, which would show the wrapping as text.
    """
    return "TMUX" in env or env.get("TERM", "").startswith("tmux")


# The desktop ------------------------------------------------------------------------------------


def native_tools(env: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The clipboard tools that are installed here and have a display, as (name, command)."""
    candidates: list[tuple[str, list[str]]] = []
    if sys.platform == "darwin" and not _is_remote(env):
        candidates.append(("pbcopy", ["pbcopy"]))
    if env.get("WAYLAND_DISPLAY"):
        candidates.append(("wl-copy", ["wl-copy", "--type", "text/plain;charset=utf-8"]))
    if "WSL_DISTRO_NAME" in env or "WSL_INTEROP" in env:
        candidates.append(("clip.exe", ["clip.exe"]))
    if env.get("DISPLAY"):
        candidates.append(("xclip", ["xclip", "-selection", "clipboard", "-in"]))
        candidates.append(("xsel", ["xsel", "--clipboard", "--input"]))
    path = env.get("PATH")
    found = ((name, shutil.which(command[0], path=path), command) for name, command in candidates)
    return [(name, [where, *command[1:]]) for name, where, command in found if where]


def _is_remote(env: Mapping[str, str]) -> bool:
    """Whether the user sits at another machine, whose clipboard local tools cannot reach."""
    return "SSH_CONNECTION" in env or "SSH_TTY" in env


def _feed(command: list[str], name: str, text: str, env: Mapping[str, str]) -> bool:
    """Run a clipboard tool with the text on its standard input; whether it took it.

    The outputs are closed and the tool gets its own session: on X11 and Wayland it lives on in
    the background to serve the selection, and must not hold a pipe of ours or end with us.
    """
    data = text.encode("utf-16") if name == "clip.exe" else text.encode("utf-8")
    try:
        finished = subprocess.run(
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TOOL_TIMEOUT_S,
            env=dict(env),
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return finished.returncode == 0


# The file ---------------------------------------------------------------------------------------


def _write_copy(text: str) -> Path:
    """Write the text to a new private file among the kept copies, and return its path.

    Raises:
        OSError: If it cannot be written.
    """
    directory = paths.private_dir(paths.cache_dir() / "copies")
    # mkstemp makes the file with mode 0600 and never follows a link that is already there
    handle, name = tempfile.mkstemp(prefix="copy-", suffix=".txt", dir=directory)
    path = Path(name)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    _remove_old_copies(directory)
    return path


def _remove_old_copies(directory: Path) -> None:
    with contextlib.suppress(OSError):
        copies = sorted(directory.glob("copy-*.txt"), key=lambda file: file.stat().st_mtime_ns)
        for old in copies[:-KEPT_COPIES]:
            old.unlink(missing_ok=True)
