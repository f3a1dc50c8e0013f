"""Copying of text to the clipboard that the user sees, with a sentence on how it was done.

Neither way is reliable alone, so two are tried: the terminal (OSC 52, which also works over SSH)
and the desktop's own tool. If neither is certain to have worked, the text is also written to a file
whose path is returned. The clipboard is never read.
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
"""Most base64 characters to send; common terminals silently drop longer sequences."""
TOOL_TIMEOUT_S = 2.0
"""Seconds that a clipboard tool may take."""
KEPT_COPIES = 20
"""Number of copy files to keep; older ones are removed."""

Support = Literal["yes", "unknown", "no"]
"""Whether a terminal supports OSC 52."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """The places that a copied text was sent to."""

    how: tuple[str, ...]
    """The ways that were used, as `("OSC 52", "xclip")`; empty if only the file was written."""
    path: Path | None
    """The file that holds the text too; None if the clipboard is certain to have it, or the file
    could not be written."""
    detail: str
    """One sentence for the user."""

    @property
    def ok(self) -> bool:
        """Whether the text was sent or written anywhere."""
        return bool(self.how) or self.path is not None


def copy(
    text: str,
    write_terminal: Callable[[str], object],
    environ: Mapping[str, str] | None = None,
) -> CopyResult:
    """Copy a text, without the characters that a shell or terminal could obey when it is pasted.

    A tool may take up to `TOOL_TIMEOUT_S`, so call this in a worker thread. It never raises if a
    way does not work; the result says what happened.

    Args:
        text: The text, of any length.
        write_terminal: Writes a control sequence to the terminal, as `driver.write` does; must be
            callable from this thread.
        environ: Environment variables that identify terminal and desktop; the process's own by
            default.
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
        how.append("tmux")  # reaches the outer terminal only if tmux and that terminal allow it
    return _with_file(text, tuple(how), too_long)


def _with_file(text: str, how: tuple[str, ...], too_long: bool) -> CopyResult:
    """Finish a copy that is not certain to have arrived: write the text to a file too."""
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
    """Return whether a terminal supports OSC 52, judged by the names that it gives itself.

    `unknown` is the usual answer: several terminals have a setting for it, and inside tmux or GNU
    screen the outer terminal is hidden.
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
    """Return the sequence that has the terminal put base64 data on its clipboard (xterm, OSC 52).

    tmux gets it twice: plain, for its own `set-clipboard`, and wrapped for the outer terminal, with
    every ESC doubled (tmux, `allow-passthrough`).
    """
    sequence = f"\x1b]52;c;{encoded}\x07"
    if _is_in_tmux(env):
        doubled = sequence.replace("\x1b", "\x1b\x1b")
        return f"{sequence}\x1bPtmux;{doubled}\x1b\\"
    return sequence


def _is_in_tmux(env: Mapping[str, str]) -> bool:
    """Return whether this is certainly tmux.

    Over SSH only `TERM` tells, and `screen-256color` may be GNU screen, which would show the
    wrapping as text.
    """
    return "TMUX" in env or env.get("TERM", "").startswith("tmux")


# The desktop ------------------------------------------------------------------------------------


def native_tools(env: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return the clipboard tools that are installed here and have a display, as (name, command)."""
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
    """Return whether the user sits at another machine, whose clipboard local tools cannot reach."""
    return "SSH_CONNECTION" in env or "SSH_TTY" in env


def _feed(command: list[str], name: str, text: str, env: Mapping[str, str]) -> bool:
    """Run a clipboard tool with the text on its standard input; return whether it succeeded.

    Its outputs go to `/dev/null` and it gets a session of its own: on X11 and Wayland it stays in
    the background to serve the selection, and must neither hold a pipe of this process nor end with
    it.
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
        OSError: If the file cannot be written.
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
