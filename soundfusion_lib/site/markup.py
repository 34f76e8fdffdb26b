"""Markdown and notebooks as HTML that is safe to publish: what they say stays, what they would run does not."""

import re
from collections.abc import Callable
from functools import cache
from urllib.parse import unquote, urlsplit

import bleach
import nbformat
from bs4 import BeautifulSoup, Tag
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

TAGS = {
    *("a", "abbr", "audio", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em", "figure"),
    *("figcaption", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "kbd", "li", "ol", "p", "pre", "s", "source"),
    *("span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
}
MATHML = {
    *("math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mstyle", "mpadded", "mphantom", "menclose", "mfrac"),
    *("msqrt", "mroot", "mover", "munder", "munderover", "msub", "msup", "msubsup", "mtable", "mtr", "mtd"),
}
ATTRIBUTES = {
    "*": ("class", "title"),
    "a": ("href",),
    "audio": ("controls", "src"),
    "details": ("open",),
    "img": ("alt", "height", "src", "width"),
    "ol": ("start",),
    "source": ("src", "type"),
    "td": ("colspan", "rowspan"),
    "th": ("colspan", "rowspan", "scope"),
    **dict.fromkeys(MATHML, ("columnalign", "display", "displaystyle", "fence", "form", "mathvariant", "stretchy")),
    "mspace": ("width",),
}
CLEANER = bleach.Cleaner(TAGS | MATHML, ATTRIBUTES, protocols=["data", "http", "https", "mailto"])
EMBEDDED = {"img": "data:image/", "audio": "data:audio/", "source": "data:audio/"}  # no other data: address stays
NUMBER = re.compile(r"[<+-]?[\d,.]+(e[+-]\d+)?%?(\s\[[^]]+\])?|-|NaN|<NA>|")  # with its interval, or none
LEFT_OUT = "The sound is left out here: it belongs to its artist. The notebook plays it where the corpus is at hand."
LONG = 40  # characters of a cell that may take more than one line

Locate = Callable[[str], str | None]  # a relative link as its author wrote it -> as the page has it; None: nowhere
Picture = Callable[[bytes], tuple[str, str]]  # keeps a PNG; its address, and a description if its author gave none


class _Renderer(IPythonRenderer):
    """nbconvert's, with formulas as MathML, which browsers show without a script."""

    def __init__(self) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return f'<div class="formula">{_mathml(body, "block")}</div>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


def markdown(text: str, locate: Locate, shift: int = 0) -> str:
    """Safe HTML of Markdown, its headings `shift` levels lower. A relative link that leads nowhere becomes text."""
    return _finish(BeautifulSoup(_html(text), "html.parser"), locate, shift)


def notebook(content: nbformat.NotebookNode, locate: Locate, picture: Picture, sounds: bool) -> str:
    """Safe HTML of a notebook's cells and outputs, as `markdown`; its audio only with `sounds`."""
    html, resources = _exporter().from_notebook_node(content, {"unique_key": "output", "output_files_dir": ""})
    kept = {name: picture(data) for name, data in resources["outputs"].items() if name.endswith(".png")}
    addresses = {name: address for name, (address, _) in kept.items()}
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup("img"):
        if tag.get("src") in kept and tag["alt"].startswith("No description"):  # nbconvert's words
            tag["alt"] = kept[tag["src"]][1] or tag["alt"]
    if not sounds:
        for tag in soup("audio"):
            tag.name, tag.attrs, tag.string = "p", {"class": "missing"}, LEFT_OUT
    return _finish(soup, lambda link: addresses.get(link) or locate(link))


@cache
def _exporter() -> HTMLExporter:
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor("nbconvert.preprocessors.ExtractOutputPreprocessor", enabled=True)
    exporter.register_filter("markdown2html", _html)
    return exporter


def kind(cells: list[str]) -> str:
    """What a column of a table holds, as a class of its cells: "number", "words" or, for notes, "prose"."""
    if cells and all(NUMBER.fullmatch(cell.strip()) for cell in cells):
        return "number"
    return "prose" if any(len(cell.strip()) > LONG for cell in cells) else "words"


def slug(text: str) -> str:
    """A heading as an anchor, as GitHub makes them: lower case, hyphens for spaces, no other marks."""
    return "".join(mark for mark in text.lower().replace(" ", "-") if mark.isalnum() or mark in "-_") or "section"


def _html(text: str) -> str:
    return MarkdownWithMath(_Renderer()).render(text)


def _mathml(formula: str, display: str) -> str:
    try:
        return convert(formula, display=display)
    except Exception:  # it has a kind for each thing that it does not know; the source can be read, too
        return f"<code>{bleach.clean(formula, tags=[])}</code>"


def _finish(rough: BeautifulSoup, locate: Locate, shift: int = 0) -> str:
    """Clean HTML; find where its links lead; name its headings, align its numbers, give tables a box that scrolls."""
    for tag in rough(["style", "script"]):  # bleach would show what is in them
        tag.decompose()
    soup = BeautifulSoup(CLEANER.clean(str(rough)), "html.parser")
    for tag in soup(["a", *EMBEDDED]):
        _relink(tag, locate)
    for tag in soup("img"):
        if not tag.find_parent("a") and not tag["src"].startswith("data:"):
            tag.wrap(soup.new_tag("a", attrs={"href": tag["src"]}))  # to be seen larger
    for table in soup("table"):
        _align(table)
        table.wrap(soup.new_tag("div", attrs={"class": "table", "tabindex": "0"}))
    taken: dict[str, int] = {}
    for heading in soup([f"h{level}" for level in range(1, 7)]):
        heading.name = f"h{min(6, int(heading.name[1]) + shift)}"
        name = slug(heading.get_text())
        taken[name] = taken.get(name, 0) + 1
        if not shift:  # else they stand within a page that has anchors of its own
            heading["id"] = name if taken[name] == 1 else f"{name}-{taken[name] - 1}"
    return str(soup)


def _relink(tag: Tag, locate: Locate) -> None:
    key = "href" if tag.name == "a" else "src"
    address = tag.get(key, "")
    if address.startswith(EMBEDDED.get(tag.name, "https:")) or (tag.name == "a" and address.startswith("http:")):
        return
    if tag.name == "a" and address.startswith(("#", "mailto:")):
        return
    found = None if urlsplit(address).scheme or not address else locate(unquote(address))
    if found is not None:
        tag[key] = found
    elif tag.name == "a":
        tag.unwrap()  # to a file of the project that the site does not have
    elif tag.name != "audio" or address:  # one that has its sources within it has no address
        tag.decompose()  # nothing is loaded from elsewhere


def _align(table: Tag) -> None:
    rows = [row(["td", "th"]) for row in table("tr")]
    body = [row(["td", "th"]) for part in table("tbody") for row in part("tr")]
    for index in range(max(map(len, rows), default=0)):
        name = kind([row[index].get_text() for row in body if index < len(row)])
        for row in rows:
            if index < len(row):
                row[index]["class"] = name
