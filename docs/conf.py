"""How Sphinx builds the site: ``make docs``. Warnings are errors there; ``docs/check_links.py`` looks at the result."""

from __future__ import annotations

import os
import pathlib
import tomllib
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # runtime/pullback/onednn.py says why

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import _MockObject
from sphinx.transforms import SphinxTransform
from sphinx_gallery.sorting import ExplicitOrder

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Pullback"
author = PROJECT["authors"][0]["name"]
copyright = author
version = release = PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
# Files of the gallery that are not pages of their own, and what is built.
exclude_patterns = ["_build", "examples/*.py", "examples/README.rst"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"Pullback {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "source_repository": PROJECT["urls"]["Source"] + "/",
    "source_branch": "main",
    "source_directory": "docs/",
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = "$ "

# Large frameworks that only integrations need: their pages come from the docstrings alone.
autodoc_mock_imports = ["torch", "jax", "pytensor", "umbridge", "tesseract_core", "pydantic"]
# Importing pullback.integrations.jax stores a rule in a table of JAX, and Sphinx' stand-ins have items to read alone.
_MockObject.__setitem__ = lambda self, key, value: None
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_use_rtype = False

EXAMPLES = (
    "pendulum.py",
    "wing.py",
    "molecule.py",
    "burgers.py",
    "calibration.py",
    "photograph.py",
    "table.py",
)
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": ExplicitOrder([*EXAMPLES, "*"]),
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_", "__repr__"),
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "download_all_examples": False,
    "matplotlib_animations": False,
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib",),
    "plot_gallery": "True",
}


# Pages of the repository that the site shows too.
PAGES = {ROOT / "CONTRIBUTING.md": "contributing", ROOT / "CHANGELOG.md": "changelog"}


class LinksToTheRepository(SphinxTransform):
    """Links from a page to files outside of ``docs`` lead to the repository: they are no part of the site.

    Pages keep relative links, which work in a clone and where the repository is browsed. CONTRIBUTING and CHANGELOG
    are pages of the site as well.
    """

    default_priority = 2

    def apply(self, **_: Any) -> None:
        folder = (ROOT / "docs" / self.env.docname).parent
        for node in list(self.document.findall(addnodes.pending_xref)):
            path = node["reftarget"].partition("#")[0]
            found = (folder / path).resolve()
            page = found if found.suffix else found.with_suffix(".md")
            if page in PAGES:
                node["reftarget"] = PAGES[page]
            elif ("/" in path or ".." in path) and not found.is_relative_to(ROOT / "docs") and found.exists():
                _to_the_repository(node, found)


def _to_the_repository(node: nodes.Element, found: pathlib.Path) -> None:
    kind = "tree" if found.is_dir() else "blob"
    address = f"{PROJECT['urls']['Source']}/{kind}/main/{found.relative_to(ROOT).as_posix()}"
    link = nodes.reference("", "", internal=False, refuri=address)
    link += [child.deepcopy() for child in node.children[0].children] or [nodes.Text(found.name)]
    node.replace_self(link)


def _without_constructor(
    app: Sphinx, what: str, name: str, item: object, options: object, signature: str | None, returned: str | None
) -> tuple[str, None] | None:
    """``pullback.load`` makes bundles; what their class is made from is an implementation detail."""
    return ("", None) if name == "pullback.Bundle" else None


def setup(app: Sphinx) -> None:
    app.add_transform(LinksToTheRepository)
    app.connect("autodoc-process-signature", _without_constructor)
