"""The pages of the site: where each committed file goes, what each page shows, and how they link to each other."""

import json
import posixpath
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import pandas as pd
from markupsafe import Markup
from pygments.formatters import HtmlFormatter

from soundfusion_lib.analysis.page import introduction
from soundfusion_lib.analysis.tables import readable
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.site import markup
from soundfusion_lib.site.content import Notebook, Results, all_notebooks, all_results, opening
from soundfusion_lib.site.networks import GENRES, NETWORKS, PERFORMANCE, SHOWN, Network
from soundfusion_lib.site.sounds import write_sounds
from soundfusion_lib.use.exported import CONFIG
from soundfusion_lib.use.recognizer import BUILT_IN

TEMPLATES = Path(__file__).with_name("templates")
GENERATOR = '<meta name="generator" content="soundfusion site">'  # by which a folder is known as a site
REPORTED = PROJECT / "results" / "reported"
INDEX = "index.html"


class Site:
    """The site while it is written.

    Args:
        folder: where; must not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results, self.notebooks = all_results(), all_notebooks()
        self.places = {PROJECT / "README.md": INDEX, REPORTED: f"results/reported/{INDEX}"}  # of the project's files
        self.pictures: dict[bytes, tuple[str, str]] = {}  # by content: address and caption
        loader = jinja2.FileSystemLoader(TEMPLATES)
        self.templates = jinja2.Environment(
            loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
        )

    def write(self) -> None:
        """Write all files: first those that pages link to, so that each page knows where they are."""
        self.folder.mkdir(parents=True)
        style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
        for scheme, name in (("light", "default"), ("dark", "github-dark")):
            colours = HtmlFormatter(style=name, nobackground=True).get_style_defs(".highlight")
            style += f"@media (prefers-color-scheme: {scheme}) {{\n{colours}\n}}\n"
        self._file("style.css").write_text(style, encoding="utf-8")
        shutil.copy(TEMPLATES / "icon.svg", self._file("icon.svg"))
        for file in sorted(REPORTED.glob("*.csv")):
            self._copy(file, f"results/reported/{file.name}")
        for results in self.results:
            self._place(results)
        self._index()
        self._report()
        for results in self.results:
            self._results(results)
            for notebook in self.notebooks:
                self._notebook(results, notebook)
        self._page(f"notebooks/{INDEX}", "notebooks.html", "Notebooks")
        self._page(f"networks/{INDEX}", "networks.html", "Networks")
        for network in NETWORKS:
            self._network(network)
        sounds, seconds = write_sounds(self.folder / "sounds")
        self._page(f"sounds/{INDEX}", "sounds.html", "What the demo sounds like", sounds=sounds, seconds=seconds)

    def address(self, results: Results, notebook: Notebook) -> str | None:
        """Of a notebook as it was executed on a profile; None if it was not."""
        return self.places.get(results.notebook(notebook.name))

    def _place(self, results: Results) -> None:
        """Copy a profile's tables and figures, and say where its pages will be."""
        base = f"results/{results.name}"
        self.places |= {results.folder: f"{base}/{INDEX}", results.folder / "README.md": f"{base}/{INDEX}"}
        for file, caption in results.captions.items():
            self._copy(results.folder / file, f"{base}/{file}", caption)
        for notebook in self.notebooks:
            if source := results.notebook(notebook.name):
                home = "" if source.is_relative_to(PROJECT / "notebooks") else f"{base}/"
                self.places[source] = f"{home}notebooks/{notebook.name}.html"

    def _copy(self, source: Path, address: str, caption: str = "") -> None:
        content = source.read_bytes()
        self._file(address).write_bytes(content)
        self.places[source] = address
        if source.suffix == ".png":
            self.pictures.setdefault(content, (address, caption))

    def _index(self) -> None:
        first = opening()
        figure = PROJECT / first.figure
        if figure not in self.places:  # the results are elsewhere
            self._copy(figure, first.figure, first.caption)
        answer = markup.markdown(first.answer, self._locate(PROJECT / "README.md", INDEX))
        table = pd.read_csv(figure.parents[1] / PERFORMANCE).sort_values("track_accuracy", ascending=False)
        self._page(
            INDEX,
            "index.html",
            first.question,
            opening=first,
            answer=Markup(answer),
            figure=self.places[figure],
            performance=grid(readable(table[list(SHOWN[:5])])),
        )

    def _report(self) -> None:
        tables = {file.stem: grid(readable(pd.read_csv(file))) for file in sorted(REPORTED.glob("*.csv"))}
        titles = {name: re.sub(r"^(\D+)(\d)_", r"\1 \2: ", name).replace("_", " ").capitalize() for name in tables}
        self._page(self.places[REPORTED], "report.html", "The report's own numbers", tables=tables, titles=titles)

    def _results(self, results: Results) -> None:
        page = self.places[results.folder]
        words = "\n\n".join(introduction(results.summary)[int(results.synthetic) :])  # the template warns by itself
        text = markup.markdown(words, self._locate(results.folder / "README.md", page))
        tables = {file: grid(readable(table)) for file, table in results.tables.items()}
        context = {"results": results, "introduction": Markup(text), "tables": tables}
        self._page(page, "results.html", f"Results on {results.name}", **context)

    def _notebook(self, results: Results, notebook: Notebook) -> None:
        page = self.address(results, notebook)
        if page is None:
            return
        source = results.notebook(notebook.name)

        def picture(content: bytes) -> tuple[str, str]:
            if content not in self.pictures:
                name = f"{page.removesuffix('.html')}-{len(self.pictures)}.png"
                self._file(name).write_bytes(content)
                self.pictures[content] = name, ""
            address, caption = self.pictures[content]
            return relative(address, page), caption

        content = nbformat.read(source, as_version=4)
        body = markup.notebook(content, self._locate(source, page), picture, sounds=results.synthetic)
        entry = results.summary["notebooks"][notebook.name]
        title = f"{notebook.title}, {results.name}"
        self._page(page, "notebook.html", title, results=results, entry=entry, body=Markup(body), notebook=notebook)

    def _network(self, network: Network) -> None:
        page = network_page(network)
        card = ""
        if json.loads((BUILT_IN / CONFIG).read_text(encoding="utf-8"))["experiment"]["model"] == network.model:
            card = (BUILT_IN / "README.md").read_text(encoding="utf-8")
        layers, parameters, seconds = network.layers()
        tables = {results.name: network.tables(results) for results in self.results}
        self._page(
            page,
            "network.html",
            network.title,
            network=network,
            card=Markup(markup.markdown(card, lambda link: None, shift=2)),
            layers=grid(layers),
            parameters=parameters,
            seconds=seconds,
            performance=grid(network.performance(self.results)),
            tables={
                name: {file: grid(readable(table)) for file, table in own.items() if file != PERFORMANCE}
                for name, own in tables.items()
            },
        )

    def _page(self, page: str, template: str, title: str, **context: Any) -> None:
        """Write a page; in its template `to` is the way to another one's address."""
        html = self.templates.get_template(template).render(
            page=page,
            title=title,
            site=self,
            networks=NETWORKS,
            genres=GENRES,
            generator=Markup(GENERATOR),
            to=lambda address: relative(address, page),
            size=self._size,
            words=lambda text: Markup(markup.markdown(text, lambda link: None)),
            network_page=network_page,
            **context,
        )
        self._file(page).write_text(html, encoding="utf-8", newline="\n")

    def _size(self, address: str) -> tuple[int, int]:
        """Width and height of a PNG on the site, in pixels: its bytes 16 to 24."""
        return struct.unpack(">II", (self.folder / address).read_bytes()[16:24])

    def _file(self, address: str) -> Path:
        path = self.folder / address
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _locate(self, source: Path, page: str) -> Callable[[str], str | None]:
        """How links in a file of the project lead on from its page."""

        def locate(link: str) -> str | None:
            path, mark, fragment = link.partition("#")
            address = self.places.get((source.parent / path).resolve())
            return None if address is None else relative(address, page) + mark + fragment

        return locate


def network_page(network: Network) -> str:
    """Its address on the site."""
    return f"networks/{network.model}.html"


def relative(address: str, page: str) -> str:
    """The way from a page to another address on the site."""
    return posixpath.relpath(address, posixpath.dirname(page))


def grid(table: pd.DataFrame) -> dict[str, Any]:
    """A table for the template: its columns, each with its kind (see `markup.kind`), and rows of text."""
    rows = [[str(cell) for cell in row] for row in table.astype(object).fillna("").itertuples(index=False)]
    kinds = [markup.kind([row[index] for row in rows]) for index in range(table.shape[1])]
    return {"columns": list(zip(table.columns, kinds, strict=True)), "rows": rows}
