"""Markdown and notebooks as HTML that is safe to publish: what they say stays, what they would run does not."""

import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import bleach
import nbformat
from bleach.css_sanitizer import CSSSanitizer
from bs4 import BeautifulSoup, Tag
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

MATHML = (
    "math mrow mi mn mo ms mtext mspace mstyle mpadded mphantom menclose mfrac msqrt mroot mover munder munderover "
    "msub msup msubsup mtable mtr mtd"
).split()
TAGS = (
    "a abbr audio b blockquote br code dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i img kbd li "
    "ol p pre s source span strong sub summary sup table tbody td tfoot th thead tr ul"
).split()
ATTRIBUTES = {
    "*": ["class", "id", "style", "title"],
    "a": ["href"],
    "audio": ["controls", "src"],
    "details": ["open"],
    "img": ["alt", "height", "src", "width"],
    "ol": ["start"],
    "source": ["src", "type"],
    **dict.fromkeys(("td", "th"), ["colspan", "rowspan", "scope"]),
    **dict.fromkeys(MATHML, ["columnalign", "display", "displaystyle", "fence", "form", "mathvariant", "stretchy"]),
    "mspace": ["width"],
}
CLEANER = bleach.Cleaner(
    {*TAGS, *MATHML},
    ATTRIBUTES,
    protocols=["data", "http", "https", "mailto"],
    css_sanitizer=CSSSanitizer(["text-align"]),
)
EMBEDDED = {"img": "data:image/", "audio": "data:audio/", "source": "data:audio/"}  # no other data: address stays
NUMBER = re.compile(r"[<+-]?[\d,.]+(e[+-]\d+)?%?(\s\[[^]]+\])?|-|NaN|<NA>|")  # with its interval, or none

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
    return _finish(_html(text), locate, shift)


def notebook(content: nbformat.NotebookNode, locate: Locate, picture: Picture, sounds: bool) -> str:
    """Safe HTML of a notebook's cells and outputs, as `markdown`; its audio only with `sounds`."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor("nbconvert.preprocessors.ExtractOutputPreprocessor", enabled=True)
    exporter.register_filter("markdown2html", _html)
    html, resources = exporter.from_notebook_node(content, {"unique_key": "output", "output_files_dir": ""})
    kept = {name: picture(data) for name, data in resources["outputs"].items() if name.endswith(".png")}
    addresses = {name: address for name, (address, _) in kept.items()}
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup("img"):
        if tag.get("src") in kept and tag["alt"].startswith("No description"):  # nbconvert's words
            tag["alt"] = kept[tag["src"]][1] or tag["alt"]
    if not sounds:
        for tag in soup("audio"):
            tag.replace_with("(The sound is left out here: it is its artist's. It plays in a notebook of your own.)")
    return _finish(str(soup), lambda link: addresses.get(link) or locate(link))


def number(text: str) -> bool:
    """Whether a cell of a table holds a number, with or without an interval, or nothing."""
    return NUMBER.fullmatch(text.strip()) is not None


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


def _finish(html: str, locate: Locate, shift: int = 0) -> str:
    """Clean HTML; find where its links lead; name its headings, align its numbers, give tables a box that scrolls."""
    rough = BeautifulSoup(html, "html.parser")
    for tag in rough(["style", "script"]):  # bleach would show what is in them
        tag.decompose()
    soup = BeautifulSoup(CLEANER.clean(str(rough)), "html.parser")
    for tag in soup(["a", *EMBEDDED]):
        _relink(tag, locate)
    for table in soup("table"):
        _align(table)
        table.wrap(soup.new_tag("div", attrs={"class": "table", "tabindex": "0"}))
    taken: dict[str, int] = {}
    for heading in soup([f"h{level}" for level in range(1, 7)]):
        heading.name = f"h{min(6, int(heading.name[1]) + shift)}"
        name = slug(heading.get_text())
        taken[name] = taken.get(name, 0) + 1
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
        cells = [row[index] for row in body if index < len(row)]
        if cells and all(number(cell.get_text()) for cell in cells):
            for row in rows:
                if index < len(row):
                    row[index]["class"] = "number"
