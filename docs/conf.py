"""The site that `make site` writes: README, results, notebooks as they ran, guides. _toc.yml has their order."""

import html
import shutil
from functools import partial
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml

project = html_title = "SoundFusion"
extensions = ["myst_nb", "sphinx_external_toc"]
include_patterns = ["*.md", "docs/*.md", "notebooks/*.ipynb", "results/**"]
exclude_patterns = [".*", "data", "site"]
external_toc_path = "docs/_toc.yml"
external_toc_exclude_missing = True

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # widgets need a kernel
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_theme_options = {"show_toc_level": 2}
html_context = {"default_mode": "auto"}  # light or dark, as the system is
html_math_renderer = "mathml"  # needs no network, unlike MathJax
html_copy_source = False


def mathml(translator, node, as_block=False):
    """A formula as MathML, or as TeX where docutils does not know a command."""
    try:
        translator.body.append(tex2mathml(node.astext(), as_block))
    except MathError:
        translator.body.append(f"<code>{html.escape(node.astext())}</code>")
    raise SkipNode


def copy_index(app, error):
    """A browser that opens the folder looks for index.html."""
    if not error:
        shutil.copy(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))


def setup(app):
    app.add_html_math_renderer("mathml", (mathml, None), (partial(mathml, as_block=True), None))
    app.connect("build-finished", copy_index)
