"""What the project promises about its own files."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import tomllib

import pullback

from tests.project.package import RECIPE, relative_links

ROOT = pathlib.Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def tracked() -> list[pathlib.Path]:
    """Files under version control; where there is none (an unpacked archive), every file outside of dot folders."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.parts)]


def test_versions_agree() -> None:
    assert pullback.__version__ == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert f'version: "{PROJECT["version"]}"' in RECIPE.read_text()


def test_links_of_the_readme_are_whole_on_the_package_index() -> None:
    """``make package`` sees that the wheel has this text."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    text = (ROOT / "README.md").read_text()
    assert len(relative_links(text)) > 10
    for item in tool["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(item["pattern"], item["replacement"], text)
    assert relative_links(text) == []
    assert "![The curve" in text and "raw.githubusercontent.com/pullback-project/pullback/main/docs/bowl.png" in text


def test_the_runtime_is_not_kept_from_newer_versions_of_python() -> None:
    assert "<" not in PROJECT["requires-python"]


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_top_level_is_tidy() -> None:
    known = {
        ".ci",
        ".gitignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "docs",
        "exporter",
        "models",
        "pyproject.toml",
        "runtime",
        "tests",
    }
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= known


def test_links_into_the_gallery_name_an_example() -> None:
    for page in (path for path in tracked() if path.suffix == ".md"):
        for example in re.findall(r"\]\((?:\.\./)?gallery/(\w+)\.rst", page.read_text()):
            assert (ROOT / "docs" / "examples" / f"{example}.py").exists(), f"{page.relative_to(ROOT)}: {example}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in (path for path in tracked() if path.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and "gallery/" not in target:  # the site makes the gallery from docs/examples
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_pictures_are_small() -> None:
    for picture in (path for path in tracked() if path.suffix == ".png"):
        assert picture.stat().st_size < 150_000, picture.relative_to(ROOT)


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z][\w-]*)", (ROOT / "README.md").read_text())) <= targets
