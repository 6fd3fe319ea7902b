"""Recipes: what each kind of file makes of a repo, when the key changes, and what hostile files cannot do."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.sandbox import SandboxFault
from forklock.sandbox.images.recipe import Recipe, find_recipe


def made(root: Path, **files: str) -> Recipe:
    write(root, **files)
    found = find_recipe(root)
    assert found is not None
    return found


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


PROJECT = """\
[project]
name = "My_Lib"
requires-python = ">=3.10"
dependencies = ["six>=1.16"]
[project.optional-dependencies]
test = ["hypothesis"]
docs = ["sphinx"]
dev = ["my-lib[test]", "tox"]
[dependency-groups]
base = ["attrs"]
tests = ["pytest-timeout", {include-group = "base"}, {include-group = "tests"}]
"""


def test_a_repo_that_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, **{"README.md": "", "package.json": "{}", "pyproject.toml": "[tool.ruff]\n"})
    assert find_recipe(tmp_path) is None


def test_metadata_with_extras_and_groups_for_tests(tmp_path: Path) -> None:
    recipe = made(tmp_path, **{"pyproject.toml": PROJECT})
    assert recipe.files["declared.txt"].decode().split() == [
        "six>=1.16", "hypothesis", "tox", "pytest-timeout", "attrs",
    ]  # fmt: skip
    assert recipe.python == ">=3.10" and "-r declared.txt" in recipe.dockerfile


def test_requirements_files_without_the_repo_itself(tmp_path: Path) -> None:
    texts = {
        "requirements.txt": "six\n-e .\n.[test]\n",
        "dev-requirements.txt": "-r requirements.txt\ntox\n",
        "requirements/docs.txt": "sphinx\n",
    }
    recipe = made(tmp_path, **texts)
    assert recipe.files["requirements.txt"] == b"six\n"
    assert "-r dev-requirements.txt" in recipe.dockerfile and "docs" not in recipe.dockerfile
    assert len(recipe.notes) == 1 and "requirements/docs.txt" in recipe.files


def test_setup_cfg(tmp_path: Path) -> None:
    text = "[options]\ninstall_requires =\n  six\n  # no\n[options.extras_require]\ntests =\n  attrs\n"
    assert made(tmp_path, **{"setup.cfg": text}).files["declared.txt"] == b"six\nattrs\n"


@pytest.mark.parametrize(("lock", "tool"), [("uv.lock", "uv export"), ("poetry.lock", "poetry export")])
def test_a_lock_is_exported_by_its_own_tool(tmp_path: Path, lock: str, tool: str) -> None:
    files = {"pyproject.toml": PROJECT, "requirements.txt": "six\n"}
    recipe = made(tmp_path, **files, **{lock: '[[package]]\nname = "pytest"\n'})
    assert tool in recipe.dockerfile and "pytest>=" not in recipe.dockerfile
    assert recipe.sources == ("pyproject.toml", lock)
    assert "pytest>=" in made(tmp_path, **{lock: '[[package]]\nname = "pytest-x"\n'}).dockerfile


def test_poetry_without_its_lock_is_told(tmp_path: Path) -> None:
    with pytest.raises(SandboxFault) as told:
        made(tmp_path, **{"pyproject.toml": '[tool.poetry.dependencies]\nsix = "^1"\n'})
    assert "poetry lock" in told.value.fix


def test_node_packages_beside_python(tmp_path: Path) -> None:
    recipe = made(
        tmp_path, **{"requirements.txt": "six\n", "package.json": '{"devDependencies": {"x": "1"}}'}
    )
    assert "npm install --ignore-scripts" in recipe.dockerfile and "venv" in recipe.dockerfile
    locked = made(tmp_path, **{"package-lock.json": "{}"})
    assert "npm ci --ignore-scripts" in locked.dockerfile and locked.key != recipe.key


@pytest.mark.parametrize(
    ("pinned", "wanted"),
    [("3.12.4\n", "==3.12.*"), ("3.11", "==3.11.*"), ("pypy3\n", ">=3.10"), ("", ">=3.10")],
)
def test_the_pinned_python_goes_first(tmp_path: Path, pinned: str, wanted: str) -> None:
    assert made(tmp_path, **{"pyproject.toml": PROJECT, ".python-version": pinned}).python == wanted


def test_a_dockerfile_goes_before_manifests_and_a_dev_container_before_both(tmp_path: Path) -> None:
    write(tmp_path, **{"requirements.txt": "six\n", "Dockerfile": "FROM a\n", "docker/dev": "FROM b\n"})
    plain = find_recipe(tmp_path)
    assert plain is not None and plain.own and plain.sources == ("Dockerfile",)
    assert "requirements.txt" in plain.files  # a changed one makes another image
    build = '"build": {"dockerfile": "../docker/dev", "context": "..", "args": {"V": "1"}}'
    text = f'{{{build}, // why\n "features": {{"x": 1}}}}'
    dev = made(tmp_path, **{".devcontainer/devcontainer.json": text})
    assert dev.sources == (".devcontainer/devcontainer.json", "docker/dev") and dev.context == "."
    assert dev.arguments == {"V": "1"} and "features" in dev.notes[0]
    image = made(tmp_path, **{".devcontainer/devcontainer.json": '{"image": "mine:1"}'})
    assert image.dockerfile.startswith("FROM mine:1\n") and "-r requirements.txt" in image.dockerfile
    manifest = find_recipe(tmp_path, "manifest")
    assert manifest is not None and not manifest.own


def test_the_key_is_of_content_and_of_nothing_else(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    files = {"pyproject.toml": PROJECT, "requirements-test.txt": "six\n", "src/a.py": "1\n"}
    first, second = made(one, **files), made(other, **files | {"src/a.py": "2\n"})
    assert first.key == second.key and first.tag == f"forklock-repo:{first.key}"
    assert made(other, **{"requirements-test.txt": "six==1\n"}).key != first.key


@pytest.mark.parametrize("name", ["requirements.txt", "Dockerfile", "package.json", "uv.lock"])
def test_a_link_that_leads_out_is_not_read(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"dependencies": {"a": "1"}}')
    root = tmp_path / "repo"
    root.mkdir()
    (root / name).symlink_to(secret)
    assert find_recipe(root) is None


@pytest.mark.parametrize(
    "text", ['{"build": {"dockerfile": "../../x"}}', '{"build": {"dockerfile": "x", "context": "../.."}}']
)
def test_a_dev_container_cannot_name_places_outside(tmp_path: Path, text: str) -> None:
    root = tmp_path / "repo"
    write(tmp_path, x="FROM a\n")
    write(root, **{".devcontainer/devcontainer.json": text, ".devcontainer/x": "FROM a\n"})
    with pytest.raises(SandboxFault, match="outside"):
        find_recipe(root)


@pytest.mark.parametrize("name", ["pyproject.toml", "package.json", "setup.cfg", ".devcontainer.json"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{name: "{ = ["})
    with pytest.raises(SandboxFault, match=name):
        find_recipe(tmp_path)


@given(name=st.text(st.characters(codec="ascii", exclude_characters="/\0"), min_size=1, max_size=20))
def test_a_files_name_is_one_word_of_the_shell(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.mktemp("r")
    write(root, **{"requirements.txt": "six\n", f"requirements/{name.strip('.') or 'x'}.txt": "six\n"})
    recipe = find_recipe(root)
    assert recipe is not None
    install = next(line for line in recipe.dockerfile.splitlines() if "declared.txt" in line)
    words = shlex.split(install)
    assert words[words.index("-r") :].count("-r") == len(words[words.index("-r") :]) / 2
