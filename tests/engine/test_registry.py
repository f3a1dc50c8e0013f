"""models.toml: what is read, what is refused and how that is said, and what a name means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_chat.chat.known_names import TEMPLATE_NAMES
from tui_chat.chat.params import BUILTIN_PRESETS
from tui_chat.config import paths
from tui_chat.engine.files.registry import Registry, load_registry
from tui_chat.engine.files.spec import is_hub_id
from tui_chat.errors import ModelNotFoundError
from tui_chat.safe_text import safe_text

FLAGSHIP = "OpenAssistant/oasst-sft-4-pythia-12b-epoch-3.5"


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    return tmp_path / "models.toml"


def with_user(user_file: Path, text: str | bytes) -> Registry:
    """The project's registry with a user's file laid over it."""
    user_file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_registry(user=user_file)


def only_problem(registry: Registry) -> str:
    """The one thing that was wrong."""
    assert len(registry.problems) == 1, registry.problems
    return registry.problems[0].one_line


def test_project_file_is_valid_and_holds_what_it_must(user_file: Path) -> None:
    registry = load_registry(user=user_file)

    assert registry.problems == ()
    assert registry.default == "guide"
    sources = {spec.source for spec in registry.models.values()}
    assert {"builtin:guide", FLAGSHIP, "OpenAssistant/oasst-sft-1-pythia-12b"} <= sources
    sizes = ("14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
    assert {f"EleutherAI/pythia-{size}" for size in sizes} <= sources
    assert sum(spec.template == "auto" for spec in registry.models.values()) >= 3
    for spec in registry.models.values():
        assert spec.template in TEMPLATE_NAMES
        assert spec.description
        assert spec.shape is not None or spec.kind == "builtin"


def test_guide_lies_in_the_package() -> None:
    guide = load_registry().resolve("guide")

    assert guide.kind == "builtin"
    assert guide.directory == paths.guide_weights_dir()


def test_user_values_lie_over_the_projects_key_by_key(user_file: Path) -> None:
    registry = with_user(
        user_file,
        'default = "oasst-12b"\n[models.oasst-12b]\nprecision = "8bit"\n'
        '[models.mine]\nsource = "~/models/mine"\n'
        "[presets.k50]\ntemperature = 0.5\n[presets.calm]\ntemperature = 0.2\nk = 10\n",
    )

    assert registry.problems == ()
    assert registry.default == "oasst-12b"
    flagship = registry.models["oasst-12b"]
    assert (flagship.precision, flagship.source) == ("8bit", FLAGSHIP)
    assert registry.models["mine"].source == str(Path("~/models/mine").expanduser())
    k50 = registry.presets["k50"].params()
    assert (k50.temperature, k50.top_k) == (0.5, BUILTIN_PRESETS["k50"].params().top_k)
    assert registry.presets["calm"].params().top_k == 10


def test_directory_from_a_dot_is_seen_from_the_file(user_file: Path) -> None:
    registry = with_user(user_file, '[models.near]\nsource = "./here"\n')

    assert registry.models["near"].directory == user_file.parent / "here"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('[models.a]\nsource = "a/b"\ncontxt = 5\n',
         ("[models.a] was skipped", "'contxt'", "line 3", "Did you mean context?")),
        ('defualt = "guide"\n', ("no key 'defualt'", "line 1", "Did you mean default?")),
        ('[models.a]\ncontext = 100\n', ("source is missing", "line 1")),
        ('[models.a]\nsource = "a/b"\ncontext = "many"\n', ("context = 'many'", "line 3")),
        ('[models.a]\nsource = "a/b"\ncontext = 0\n', ("context = 0", "line 3")),
        ('[models.a]\nsource = "a/b"\ntemplate = "oast"\n',
         ("no template 'oast'", "did you mean oasst?")),
        ('[models.a]\nsource = "a/b"\nprecision = "8bits"\n', ("did you mean 8bit?",)),
        ('[models.a]\nsource = "a/b"\npreset = "k51"\n', ("no preset 'k51'", "Did you mean k50?")),
        ('[models.a]\nsource = "a b"\n', ("'a b' is no source", "owner/name")),
        ('[models.a]\nsource = "a/b"\ncontext = 64\nreserve = 64\n', ("leaves no room",)),
        ('[models.a]\nsource = "a/b"\ntrust_remote_code = true\n',
         ("'trust_remote_code'", "never run their own code")),
        ('[models.a]\nsource = "a/b"\nshape = { layers = 1, hidden = 64, vocab = 9, head = 1 }\n',
         ("[models.a.shape]",)),
        ('[models.a]\nsource = "a/b"\nrevision = "a b"\n', ("revision",)),
        ('[models.a]\nsource = "a/b"\ndevice = "tpu"\n', ("device",)),
        ('[models."a b"]\nsource = "a/b"\n', ("not a valid name",)),
        ('[models."a\\n"]\nsource = "a/b"\n', ("not a valid name",)),
        ('[models."' + "a" * 65 + '"]\nsource = "a/b"\n', ("not a valid name",)),
        ('[models.a]\nsource = "a/b"\ndescription = "\\u001b[31m"\n',
         ("Control characters are not allowed",)),
        ('models = 3\n', ("models is not a table",)),
        ('default = 3\n', ("default is not a name",)),
        ('default = "gide"\n', ("'gide' is not known", "Did you mean guide?")),
        ("[presets.p]\ntemprature = 1\n", ("[presets.p] was skipped", "Did you mean temperature?")),
        ("[presets.p]\ntemperature = 9\n", ("out of range", "0.00 to 2.00")),
        ("a = [\n", ("models.toml could not be read",)),
        (b"# \xff\n", ("is not UTF-8",)),
        ("a = " + "[" * 5000, ("models.toml could not be read",)),
        ("#" + "x" * 1024**2, ("larger than 1 MiB",)),
    ],
)  # fmt: skip
def test_mistake_is_reported_and_costs_only_its_entry(
    text: str | bytes, parts: tuple[str, ...], user_file: Path
) -> None:
    registry = with_user(user_file, text)

    sentence = only_problem(registry)
    for part in parts:
        assert part in sentence
    assert "\n" not in sentence
    assert "\x1b" not in sentence
    assert "guide" in registry.models
    assert "oasst-12b" in registry.models


def test_mistake_beside_good_entries(user_file: Path) -> None:
    registry = with_user(
        user_file, '[models.bad]\nsource = 3\n[models.good]\nsource = "owner/name"\n'
    )

    assert len(registry.problems) == 1
    assert "good" in registry.models
    assert "bad" not in registry.models


def test_mistake_over_a_known_model_leaves_the_projects(user_file: Path) -> None:
    registry = with_user(user_file, '[models.oasst-12b]\nprecision = "17bit"\n')

    assert len(registry.problems) == 1
    assert registry.models["oasst-12b"].precision == "auto"


def test_directory_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    registry = load_registry(user=tmp_path)

    assert "could not be read" in only_problem(registry)


def test_missing_project_file_is_reported(tmp_path: Path, user_file: Path) -> None:
    registry = load_registry(project=tmp_path / "none.toml", user=user_file)

    assert "models.toml is missing" in only_problem(registry)
    assert registry.default == "guide"


def test_name_directory_and_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = load_registry()
    (tmp_path / "owner" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert registry.resolve("oasst-12b").source == FLAGSHIP
    assert registry.resolve("").name == "guide"
    assert registry.resolve(str(tmp_path)).kind == "directory"
    assert registry.resolve("./owner").source == str(tmp_path / "owner")
    assert registry.resolve("owner/model").source == str(tmp_path / "owner" / "model")
    assert registry.resolve("other/model").kind == "hub"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("oasst12b", "Did you mean oasst-12b?"), ("GUID", "Did you mean guide?"),
     ("zzzzzz", "See the list of models"), ("a/b/c", "See the list of models"),
     ("a\x1b[2J/b", "See the list of models")],
)  # fmt: skip
def test_unknown_name_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        load_registry().resolve(name)

    assert hint in caught.value.one_line
    assert "\x1b" not in caught.value.one_line


@given(st.text(max_size=40))
def test_any_text_resolves_or_is_refused_in_one_sentence(name: str) -> None:
    registry = Registry({})
    try:
        registry.resolve(name or "x")
    except ModelNotFoundError as error:
        assert safe_text(error.one_line) == error.one_line


@given(st.binary(max_size=300))
def test_any_bytes_are_a_registry_with_the_project_models(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "models.toml"
    registry = with_user(path, data)

    assert "guide" in registry.models
    for problem in registry.problems:
        assert safe_text(problem.one_line) == problem.one_line


def test_hub_ids() -> None:
    assert is_hub_id("owner/name-1.5_b")
    for name in ("owner", "a/b/c", "/a", "a/", "a/b\n", "../b", "a/..", "a b/c", "a--b/c"):
        assert not is_hub_id(name)


def test_reading_the_registry_imports_no_torch() -> None:
    code = (
        "import sys; from tui_chat.engine.files.registry import load_registry; load_registry();"
        "sys.exit(bool({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
