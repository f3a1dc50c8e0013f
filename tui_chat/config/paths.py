"""Where files live: the user's folders, and the files that ship with the program.

`TUI_CHAT_HOME`, when set, holds everything; otherwise the platform's own folders are used.
Creates nothing by itself.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from tui_chat.errors import ConfigError
from tui_chat.safe_text import safe_line

HOME_VARIABLE = "TUI_CHAT_HOME"
"""Names the folder of all files."""
_APP = "tui-chat"
_PACKAGE = Path(__file__).resolve().parent.parent


def home() -> Path | None:
    """The folder named by `TUI_CHAT_HOME`; None where it is unset or empty."""
    value = os.environ.get(HOME_VARIABLE, "")
    return Path(os.path.expanduser(value)).absolute() if value else None


def home_problem() -> ConfigError | None:
    """Why the folder of `TUI_CHAT_HOME` cannot be used, if it is set and cannot.

    Makes the folder if it is missing. One that is there and cannot be written is none of this: it
    can be read, and what cannot be saved is said by what saves.
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
    """Folder of `config.toml`, `models.toml` and `themes/`."""
    return home() or Path(platformdirs.user_config_dir(_APP))


def data_dir() -> Path:
    """Folder of `transcripts.db` and what is exported."""
    return home() or Path(platformdirs.user_data_dir(_APP))


def cache_dir() -> Path:
    """Folder for what can be made again."""
    base = home()
    return base / "cache" if base else Path(platformdirs.user_cache_dir(_APP))


def log_dir() -> Path:
    """Folder of the log files."""
    base = home()
    return base / "logs" if base else Path(platformdirs.user_log_dir(_APP))


def config_file() -> Path:
    """The user's settings."""
    return config_dir() / "config.toml"


def user_models_file() -> Path:
    """The user's models and presets, laid over the project's."""
    return config_dir() / "models.toml"


def user_themes_dir() -> Path:
    """The user's themes, beside the built-in ones."""
    return config_dir() / "themes"


def database_file() -> Path:
    """Every saved chat."""
    return data_dir() / "transcripts.db"


def log_file() -> Path:
    """What libraries and the engine had to say."""
    return log_dir() / "tui-chat.log"


def exports_dir() -> Path:
    """Where `/export` writes when no file is named."""
    return data_dir() / "exports"


def _bundled(name: str) -> Path:
    """A file or folder that ships with the program: in the wheel, else in the checkout."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.exists() else _PACKAGE.parent / name


def project_models_file() -> Path:
    """The `models.toml` that ships with the program."""
    return _bundled("models.toml")


def builtin_themes_dir() -> Path:
    """The themes that ship with the program."""
    return _bundled("themes")


def guide_weights_dir() -> Path:
    """The built-in model."""
    return _PACKAGE / "guide" / "weights"


def private_dir(path: Path) -> Path:
    """Make a folder that only its owner can read (0700), and return it.

    Raises:
        OSError: If it cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
