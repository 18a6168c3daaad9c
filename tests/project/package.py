"""What ``make package`` built, seen from outside: ``python -m tests.project.package dist``; needs py-rattler-build."""

from __future__ import annotations

import email
import pathlib
import re
import sys
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = ROOT / "docs" / "release" / "recipe.yaml"


def problems(folder: pathlib.Path) -> list[str]:
    """Links that the package index cannot follow, files that are missing, a recipe that does not render."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (described,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(file.read(described))
    found = [f"the README's link {link} leads nowhere" for link in relative_links(metadata.get_payload())]
    for needed in (
        "pullback/__init__.py",
        "pullback/py.typed",
        "pullback_export/__init__.py",
        "pullback/web/static/page.js",
    ):
        if needed not in names:
            found.append(f"{needed} is not in the wheel")
    if "<" in metadata["Requires-Python"]:
        found.append(f"Requires-Python {metadata['Requires-Python']} keeps the runtime from newer versions")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for needed in ("README.md", "LICENSE", "CHANGELOG.md", "Makefile", "tests/conftest.py", "docs/bowl.png"):
        if needed not in held:
            found.append(f"{needed} is not in the sdist")
    return found + recipe_problems(metadata["Version"])


def relative_links(text: str) -> list[str]:
    """Targets of Markdown links and pictures that are no whole addresses."""
    return [target for target in re.findall(r"\]\(([^)\s]+)", text) if "://" not in target]


def recipe_problems(version: str) -> list[str]:
    """What rattler-build, which conda-forge builds with, says of the recipe."""
    import rattler_build

    try:
        recipe = rattler_build.Stage0Recipe.from_file(RECIPE)
        variants = rattler_build.VariantConfig({"python_min": ["3.11"]})
        rendered = recipe.render(variants)
    except rattler_build.RattlerBuildError as error:
        return [f"{RECIPE.name}: {error}"]
    versions = {str(variant.recipe.package.version) for variant in rendered}
    return [] if versions == {version} else [f"{RECIPE.name}: it is of version {versions}, the package of {version}"]


if __name__ == "__main__":
    found = problems(pathlib.Path(sys.argv[1]))
    print("\n".join(found) or "wheel, sdist and recipe are in order")
    sys.exit(bool(found))
