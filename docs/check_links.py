"""Every link of the built site leads somewhere: ``python docs/check_links.py build/docs``. Needs no network.

Files and anchors inside of the site are looked up; pictures, scripts and styles must be part of it. Addresses outside
are printed with ``--outside``; ``sphinx -b linkcheck`` visits them.
"""

from __future__ import annotations

import pathlib
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("img", "script") and "src" in found:
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(found["href"])


def problems(site: pathlib.Path) -> tuple[list[str], set[str]]:
    """What leads nowhere, and the addresses outside of the site."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found, outside = [], set()
    for path, page in pages.items():
        where = path.relative_to(site)
        found += [f"{where}: {link} is loaded from outside" for link in page.loaded if urlsplit(link).scheme == "https"]
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                outside.add(link)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{where}: there is no {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{where}: {link} has no such anchor")
    return found, outside


def main() -> int:
    found, outside = problems(pathlib.Path(sys.argv[1]).resolve())
    print("\n".join(found + (sorted(outside) if "--outside" in sys.argv else [])))
    print(f"{len(found)} links that lead nowhere; {len(outside)} addresses outside were not visited")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
