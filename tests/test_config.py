"""Settings: layers, mistakes that cost only themselves, and writing one setting back."""

from __future__ import annotations

import dataclasses
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.actions import ACTIONS
from tui_chat.config import file as config_file
from tui_chat.config import layers
from tui_chat.config.keymap import key_conflicts, read_key, read_keys
from tui_chat.config.settings import SETTING_SPECS, Settings
from tui_chat.errors import ConfigError, UsageError


def load(path: Path, text: str | bytes = "", environ: dict[str, str] | None = None, **flags):
    if text:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return layers.load_settings(flags, environ or {}, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_without_a_file_everything_is_at_its_default(path: Path) -> None:
    loaded = load(path)
    assert loaded.settings == layers.Settings()
    assert not loaded.sources and not loaded.problems


def test_later_layers_win(path: Path) -> None:
    text = 'model = "a"\nprecision = "fp16"\ndevice = "cpu"\ntheme = "night"\n'
    environ = {"TUI_CHAT_MODEL": "b", "TUI_CHAT_PRECISION": "bf16"}
    loaded = load(path, text, environ, model="c", theme=None)
    settings = loaded.settings
    assert (settings.model, settings.precision, settings.device) == ("c", "bf16", "cpu")
    assert dict(loaded.sources) == {
        "model": "flag",
        "precision": "TUI_CHAT_PRECISION",
        "device": "config.toml",
        "theme": "config.toml",
    }


def test_an_unknown_key_names_file_line_and_the_nearest_key_and_costs_only_itself(
    path: Path,
) -> None:
    loaded = load(path, '# mine\nmodle = "a"\ntheme = "night"\n')
    (problem,) = loaded.problems
    assert problem.one_line == (f"There is no setting 'modle': {path}, line 2. Did you mean model?")
    assert loaded.settings.theme == "night"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('precision = "fp61"', "did you mean fp16?"),
        ('template = "oast"', "did you mean oasst?"),
        ('device = "gpu"', "cuda:N"),
        ("context = 2", "greater than or equal to 16"),
        ('context = "2048"', "valid integer"),
        ("context = true", "valid integer"),
        ("reserve = 0", "greater than or equal to 1"),
        ('save = "no"', "valid boolean"),
        ("model = 3", "valid string"),
        ("model = ''", "at least 1 character"),
        ("parameters = 3", "no table"),
        ("keys = []", "no table"),
        ("[parameters]\ntemprature = 1", "Did you mean temperature?"),
        ("[parameters]\ntemperature = 9", "0.00 to 2.00"),
        ('[keys]\nhlep = "f1"', "Did you mean help?"),
        ('[keys]\nhelp = "no+such"', "is no key"),
        ("[keys]\nhelp = 1", "in quotes"),
        ('[keys]\nhelp = "f2"', "The key f2 belongs to parameters"),
    ],
)
def test_a_wrong_value_is_reported_with_its_place_and_skipped(
    path: Path, text: str, part: str
) -> None:
    loaded = load(path, text)
    (problem,) = loaded.problems
    assert part in problem.one_line
    assert f"{path}, line {text.count(chr(10)) + 1}" in problem.one_line
    assert loaded.settings == layers.Settings()


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"model = \xff", "byte 8 is not UTF-8"),
        (b"model = [\n= 2", "line 2"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * (1024**2 + 1), "larger than 1 MiB"),
    ],
)
def test_a_broken_file_is_reported_and_skipped(path: Path, data: bytes, part: str) -> None:
    loaded = load(path, data)
    (problem,) = loaded.problems
    assert part in problem.one_line and str(path) in problem.one_line
    assert loaded.settings == layers.Settings()


def test_a_folder_in_place_of_the_file_is_reported(path: Path) -> None:
    path.mkdir()
    (problem,) = load(path).problems
    assert "could not be read" in problem.title


def test_control_characters_of_the_file_do_not_reach_the_message(path: Path) -> None:
    (problem,) = load(path, '"\\u001b[31m" = 1').problems
    assert "\x1b" not in problem.one_line


def test_wrong_variables_are_reported_and_skipped(path: Path) -> None:
    environ = {"TUI_CHAT_CONTEXT": "many", "TUI_CHAT_SAVE": "perhaps", "TUI_CHAT_MODLE": "x"}
    loaded = load(path, environ=environ)
    lines = " ".join(problem.one_line for problem in loaded.problems)
    assert "TUI_CHAT_CONTEXT=many" in lines and "TUI_CHAT_SAVE=perhaps" in lines
    assert "Did you mean TUI_CHAT_MODEL?" in lines
    assert loaded.settings == layers.Settings()


def test_variables_are_read_in_the_type_of_their_setting(path: Path) -> None:
    environ = {"TUI_CHAT_CONTEXT": "1024", "TUI_CHAT_SAVE": "off", "TUI_CHAT_THEME": ""}
    settings = load(path, environ={**environ, "TUI_CHAT_TURBO": "0"}).settings
    assert (settings.context, settings.save, settings.theme) == (1024, False, None)
    assert not settings.turbo


@pytest.mark.parametrize(("name", "value"), [("precision", "fp61"), ("context", 1)])
def test_a_wrong_flag_is_an_error(path: Path, name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"--{name}"):
        load(path, **{name: value})


def test_parameters_of_the_file_lie_under_typed_ones(path: Path) -> None:
    loaded = load(path, "[parameters]\ntemperature = 0.5\nk = 7\n", parameters={"temperature": 0.0})
    assert loaded.settings.parameters == {"temperature": 0.0, "top_k": 7}
    assert loaded.sources["parameters.temperature"] == "flag"
    assert loaded.sources["parameters.top_k"] == "config.toml"


def test_a_typed_preset_takes_the_parameters_of_the_file_out(path: Path) -> None:
    text = 'preset = "k50"\n[parameters]\ntemperature = 0.5\n'
    assert load(path, text).settings.parameters == {"temperature": 0.5}
    without = load(path, text, preset="greedy")
    assert without.settings.parameters == {}
    assert dict(without.sources) == {"preset": "flag"}


def test_keys_are_read_as_people_write_them(path: Path) -> None:
    text = '[keys]\nhelp = ["Ctrl+H", "?"]\nquit = []\nparameters = "f1"\n'
    loaded = load(path, text)
    assert not loaded.problems
    assert loaded.settings.keys == {
        "help": ("ctrl+h", "question_mark"),
        "quit": (),
        "parameters": ("f1",),
    }


def test_two_actions_can_swap_their_keys(path: Path) -> None:
    loaded = load(path, '[keys]\nhelp = "f2"\nparameters = "f1"\n')
    assert not loaded.problems


def test_keys_are_spelled_as_textual_spells_them() -> None:
    from textual.keys import _character_to_key

    for code in range(0x21, 0x7F):
        assert read_key(chr(code)) == _character_to_key(chr(code))


def test_the_default_keys_pass_their_own_rules() -> None:
    keys = {action.id: action.keys for action in ACTIONS}
    assert list(key_conflicts(keys)) == []
    for action in ACTIONS:
        assert read_keys(list(action.keys)) == action.keys


@given(st.text(max_size=20))
def test_any_text_is_a_key_or_a_clear_error(text: str) -> None:
    try:
        key = read_key(text)
    except ValueError as error:
        assert "is no key" in str(error)
    else:
        assert read_key(key) == key


# Writing one setting ----------------------------------------------------------------------------


def test_every_setting_is_declared_with_its_default() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    assert names == {*SETTING_SPECS, "parameters", "keys"}
    for name, spec in SETTING_SPECS.items():
        default = getattr(Settings(), name)
        assert default is None or spec.check(default) == default
        assert spec.help.endswith(".") and spec.values and spec.default


def test_a_setting_is_written_into_a_new_private_file(path: Path) -> None:
    layers.save_setting("theme", "night", path)
    assert path.read_text() == 'theme = "night"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_writing_keeps_everything_else(path: Path) -> None:
    text = (
        "# my settings\nmodel = \"a\"  # the big one\n\n# colours\ntheme = 'old' # dark\n\n"
        '[keys]\n# theme\nhelp = "f1"\n'
    )
    path.write_text(text)
    layers.save_setting("theme", "paper", path)
    assert path.read_text() == text.replace("theme = 'old' # dark", 'theme = "paper" # dark')


def test_a_new_setting_goes_before_the_tables(path: Path) -> None:
    path.write_text('model = "a"\n\n[keys]\nhelp = "f1"\n')
    layers.save_setting("theme", "paper", path)
    assert path.read_text() == 'model = "a"\ntheme = "paper"\n\n[keys]\nhelp = "f1"\n'


def test_a_setting_that_cannot_be_changed_safely_is_left_alone(path: Path) -> None:
    text = 'system = """\ntheme = 1\n"""\n'
    path.write_text(text)
    with pytest.raises(ConfigError, match="theme was not saved"):
        layers.save_setting("theme", "paper", path)
    assert path.read_text() == text


def test_a_broken_file_is_not_written(path: Path) -> None:
    path.write_text("theme = ")
    with pytest.raises(ConfigError):
        layers.save_setting("theme", "paper", path)
    assert path.read_text() == "theme = "


def test_an_invalid_value_is_not_written(path: Path) -> None:
    with pytest.raises(ConfigError, match="theme was not saved"):
        layers.save_setting("theme", "", path)
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Not a directory"):
        layers.save_setting("theme", "paper", tmp_path / "file" / "config.toml")


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "real.toml", tmp_path / "config.toml"
    target.write_text('theme = "a"\n')
    target.chmod(0o640)
    link.symlink_to(target)
    layers.save_setting("theme", "b", link)
    assert link.is_symlink() and target.read_text() == 'theme = "b"\n'
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.toml", "real.toml"]


_SCALAR = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
)


@given(value=_SCALAR, before=st.sampled_from(["", "a = 1", "[t]\nx = 1\n", "x = 'y' # z\r\n"]))
def test_whatever_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, value: str | int | bool, before: str
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_bytes(before.encode())
    config_file.write_setting(path, "x", value)
    after = tomllib.loads(path.read_text())
    assert after == {**tomllib.loads(before), "x": value}
