"""Locations of the user's files and of the files that ship with the program.

`TUI_CHAT_HOME`, if set, contains all of the user's files; otherwise the platform's folders are
used. Only `private_dir` and `home_problem` create folders.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from tui_chat.errors import ConfigError
from tui_chat.safe_text import safe_line

HOME_VARIABLE = "TUI_CHAT_HOME"
"""The environment variable that names one folder for all files."""
_APP = "tui-chat"
_PACKAGE = Path(__file__).resolve().parent.parent


def home() -> Path | None:
    """Return the folder named by `TUI_CHAT_HOME`; None if it is unset or empty."""
    value = os.environ.get(HOME_VARIABLE, "")
    return Path(os.path.expanduser(value)).absolute() if value else None


def home_problem() -> ConfigError | None:
    """Return why the folder of `TUI_CHAT_HOME` cannot be used; None if it is unset or usable.

    The folder is created if it is missing. A read-only folder is no problem here, as it can be
    read; whoever fails to save to it reports that.
    """
    folder = home()
    if folder is None:
        return None
    try:
        private_dir(folder)
        os.scandir(folder).close()
        return None
    except OSError as error:
        reason = error.strerror or type(error).__name__
    shown = safe_line(str(folder), 160)
    blocked = next((path for path in (folder, *folder.parents) if _is_no_folder(path)), None)
    if blocked == folder:
        detail = f"{shown} is a file"
    elif blocked is not None:
        detail = f"{shown} cannot be made: {safe_line(str(blocked), 160)} is a file"
    else:
        what = "read" if _exists(folder) else "made"
        detail = f"{shown} cannot be {what}: {reason[:1].lower()}{reason[1:]}"
    return ConfigError(
        f"{HOME_VARIABLE} cannot be used",
        f"{detail}. Settings are not read and chats are not saved",
        "Set it to a folder, or unset it",
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _is_no_folder(path: Path) -> bool:
    return _exists(path) and not path.is_dir()


def config_dir() -> Path:
    """Return the folder of `config.toml`, `models.toml` and `themes/`."""
    return home() or Path(platformdirs.user_config_dir(_APP))


def data_dir() -> Path:
    """Return the folder of `transcripts.db` and exports."""
    return home() or Path(platformdirs.user_data_dir(_APP))


def cache_dir() -> Path:
    """Return the folder for data that can be recreated."""
    base = home()
    return base / "cache" if base else Path(platformdirs.user_cache_dir(_APP))


def log_dir() -> Path:
    """Return the folder of the log files."""
    base = home()
    return base / "logs" if base else Path(platformdirs.user_log_dir(_APP))


def config_file() -> Path:
    """Return the file with the user's settings."""
    return config_dir() / "config.toml"


def user_models_file() -> Path:
    """Return the file with the user's models and presets, which extend the project's."""
    return config_dir() / "models.toml"


def user_themes_dir() -> Path:
    """Return the folder of the user's themes."""
    return config_dir() / "themes"


def database_file() -> Path:
    """Return the database with all saved chats."""
    return data_dir() / "transcripts.db"


def log_file() -> Path:
    """Return the log file."""
    return log_dir() / "tui-chat.log"


def exports_dir() -> Path:
    """Return the folder to which `/export` writes when no file is named."""
    return data_dir() / "exports"


def _bundled(name: str) -> Path:
    """Return a file or folder that ships with the program, from the wheel or else the checkout."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.exists() else _PACKAGE.parent / name


def project_models_file() -> Path:
    """Return the `models.toml` that ships with the program."""
    return _bundled("models.toml")


def builtin_themes_dir() -> Path:
    """Return the folder of the themes that ship with the program."""
    return _bundled("themes")


def guide_weights_dir() -> Path:
    """Return the folder of the built-in model's weights."""
    return _PACKAGE / "guide" / "weights"


def private_dir(path: Path) -> Path:
    """Create a folder that only its owner can read (0700), unless it exists, and return it.

    Raises:
        OSError: If it cannot be created.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
