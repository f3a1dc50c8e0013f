"""Prepares the compiled step of a model in the background, while replies are written without it.

`Preparation` loads the step at once if it is on disk. Otherwise it runs `build` in another process,
and reports its progress as `TurboState`. A step that turned out to be wrong is not compiled again.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

import tui_chat
from tui_chat.chat.events import TurboState
from tui_chat.engine.turbo.artefact import (
    PACKAGE,
    RECIPE,
    REFUSAL,
    SIGNATURE,
    Recipe,
    TurboError,
    recipe_for,
    refuse,
)
from tui_chat.engine.turbo.checked_step import CheckedStep
from tui_chat.engine.turbo.compiled_step import CompiledStep
from tui_chat.engine.turbo.graphed_step import GraphedStep
from tui_chat.engine.turbo.requirements import require_compiler, visible_device
from tui_chat.safe_text import safe_line

log = logging.getLogger(__name__)

PAUSE_S = 3.0
"""Seconds between loading a model and compiling its step, so that the first reply has the machine
to itself."""
LONGEST_S = 1800.0
"""Seconds after which the compiling process is killed."""
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
"""Signals of a crash, which would happen again. A process that was killed may succeed another
time."""


class Preparation:
    """Finds or compiles the step of one loaded model.

    Args:
        model: The loaded model.
        is_building: Whether to compile a step that is not on disk.
        on_change: Called with every new state, on any thread.
        pause_s: Seconds to wait before compiling.
    """

    def __init__(
        self,
        model: Any,
        is_building: bool,
        on_change: Callable[[TurboState], None],
        pause_s: float = PAUSE_S,
    ) -> None:
        self.done = threading.Event()
        """Set once the step is ready, known to be unavailable, or cancelled."""
        self._model = model
        self._device: torch.device = model.get_input_embeddings().weight.device
        self._is_building = is_building
        self._on_change = on_change
        self._pause_s = pause_s
        self._cancelled = threading.Event()
        self._state = TurboState()
        self._step: CheckedStep | None = None
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> TurboState:
        """The current state. Any thread may ask."""
        return self._state

    @property
    def step(self) -> CheckedStep | None:
        """The step, or None until it is ready. Any thread may ask."""
        return self._step

    def start(self) -> None:
        """Load the step if it is on disk; otherwise start the thread that has it compiled."""
        try:
            recipe = recipe_for(self._model)
            if self._has_taken(recipe):
                return
            if not self._is_building:
                self.done.set()
                return
            require_compiler(str(self._device))
        except TurboError as refused:
            self._give_up(refused.detail)
            return
        self._change(TurboState("waiting"))
        self._thread = threading.Thread(
            target=self._prepare, args=(recipe,), name="turbo", daemon=True
        )
        self._thread.start()

    def cancel(self) -> None:
        """Stop compiling, and drop the references to the model."""
        self._cancelled.set()
        self._step = None
        self._model = None
        self.done.set()

    def _prepare(self, recipe: Recipe) -> None:
        """Have the step compiled, on a thread of its own."""
        if self._cancelled.wait(self._pause_s):
            return
        began = time.monotonic()
        try:
            recipe.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(recipe.folder.with_suffix(".lock"))
            # In short attempts, so that cancelling also ends the wait for another program's lock.
            while not self._cancelled.is_set():
                with suppress(Timeout), lock.acquire(timeout=0.5):
                    if not self._has_taken(recipe):
                        self._change(TurboState("compiling"))
                        _compile(recipe, self._environment(), self._cancelled)
                        self._has_taken(recipe, time.monotonic() - began)
                    return
        except TurboError as refused:
            self._give_up(refused.detail)
        except OSError as error:
            self._give_up(f"it cannot be written: {error.strerror or type(error).__name__}")
        except Exception as error:
            log.exception("no compiled step")
            self._give_up(type(error).__name__)

    def _environment(self) -> dict[str, str]:
        """Environment of the compiling process, which sees no GPU but the model's."""
        index = self._device.index
        return {} if index is None else {"CUDA_VISIBLE_DEVICES": visible_device(index)}

    def _has_taken(self, recipe: Recipe, seconds: float = 0.0) -> bool:
        """Load the step if it is on disk, and return whether it was.

        Raises:
            TurboError: If the step was refused before, or does not fit the model.
        """
        folder, model = recipe.folder, self._model
        if (folder / REFUSAL).is_file():
            raise TurboError("", (folder / REFUSAL).read_text(errors="replace"))
        if not (folder / SIGNATURE).is_file() or model is None:
            return False
        kind = GraphedStep if recipe.device == "cuda" else CompiledStep
        try:
            step = kind(folder, model)
        except TurboError:
            shutil.rmtree(folder, ignore_errors=True)  # the next start compiles it again
            raise
        self._step = CheckedStep(step, model, partial(self._refuse, folder))
        # `cancel` on another thread may have cleared the step just before that line set it.
        if self._cancelled.is_set():
            self._step = None
            return True
        self._change(TurboState("ready", seconds=seconds))
        self.done.set()
        return True

    def _refuse(self, folder: Path, reason: str, is_lasting: bool) -> None:
        """Stop using the step. If it can never be right, store the reason in its folder."""
        self._step = None
        if is_lasting:
            refuse(folder, reason)
        self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        if self._cancelled.is_set():
            return
        reason = safe_line(reason, 200)
        log.warning("replies stay on the eager path: %s", reason)
        self._change(TurboState("unavailable", reason))
        self.done.set()

    def _change(self, state: TurboState) -> None:
        self._state = state
        if not self._cancelled.is_set():
            self._on_change(state)


def _compile(recipe: Recipe, environment: dict[str, str], cancelled: threading.Event) -> None:
    """Run the compiling process in a work folder.

    The work folder becomes the step's folder if it holds a step or a lasting refusal.

    Args:
        recipe: What to compile.
        environment: Environment variables to add.
        cancelled: Ends the process when set.

    Raises:
        TurboError: If no step was compiled.
    """
    work = _work_folder(recipe.folder.parent)
    try:
        (work / RECIPE).write_text(recipe.to_json())
        with (work / "log.txt").open("wb") as output:
            code = _run(work, output, environment, cancelled)
        if cancelled.is_set():
            return
        said = (work / "log.txt").read_text(errors="replace")
        if code != 0:
            log.warning("compiling ended with %d\n%s", code, said[-4000:])
        if -code in _CRASHES:
            reason = f"the compiled code or its compiler crashed ({signal.Signals(-code).name})"
            (work / REFUSAL).write_text(reason)
            (work / PACKAGE).unlink(missing_ok=True)
        elif code not in (0, 3):
            raise TurboError("", f"the compiler ended with {code}; the log says more")
        for name in os.listdir(work):
            if name not in (PACKAGE, SIGNATURE, RECIPE, REFUSAL):
                path = work / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if work.parent != recipe.folder.parent:
            work = Path(shutil.move(work, recipe.folder.with_name(work.name)))
        shutil.rmtree(recipe.folder, ignore_errors=True)
        work.rename(recipe.folder)
        if code != 0:
            raise TurboError("", (recipe.folder / REFUSAL).read_text(errors="replace"))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _work_folder(parent: Path) -> Path:
    """Create a work folder, in the given one or where temporary files go.

    torch's compiler splits its command line at spaces and quotes no path, so a parent whose path
    would need quotes cannot be used.
    """
    is_plain = shlex.quote(str(parent)) == str(parent)
    return Path(tempfile.mkdtemp(prefix="making-", dir=parent if is_plain else None))


def _run(work: Path, output: Any, environment: dict[str, str], cancelled: threading.Event) -> int:
    """Run the compiling process, and return its exit code. Kill it when cancelled."""
    root = str(Path(tui_chat.__file__).resolve().parent.parent)
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tui_chat.engine.turbo.build", str(work)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=work,
        env={**os.environ, **environment, "PYTHONPATH": path},
        start_new_session=True,  # so that `killpg` also ends the compilers it starts
    )
    deadline = time.monotonic() + LONGEST_S
    while process.poll() is None:
        if cancelled.wait(0.2) or time.monotonic() > deadline:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode
