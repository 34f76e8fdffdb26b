"""The site: whole, of all that is committed, at peace with hostile names, and alone on its own disk."""

import json
import shutil
from urllib.parse import unquote, urlsplit

import nbformat
import pandas as pd
import pytest
import soundfile
import yaml
from bs4 import BeautifulSoup
from click.testing import CliRunner

from soundfusion_lib.cli import main
from soundfusion_lib.models import MODELS
from soundfusion_lib.notebooks import notebook_files
from soundfusion_lib.paths import PROJECT
from soundfusion_lib.site import markup
from soundfusion_lib.site.build import write_site
from soundfusion_lib.site.content import opening
from soundfusion_lib.site.networks import NETWORKS

HOSTILE = "<script>alert('label')</script>"
PROFILES = sorted(file.parent.name for file in (PROJECT / "results").glob("*/summary.json"))
LOADED = ("img", "src"), ("audio", "src"), ("source", "src"), ("link", "href"), ("script", "src"), ("iframe", "src")


def hostile_results(folder):
    """Results on a corpus whose labels, and a notebook whose cells, would run a script."""
    sound = "<audio controls><source src='data:audio/wav;base64,AAAA'></audio>"
    html = f"{sound}<script>alert('output')</script><table><tbody><tr><td>{HOSTILE}</td></tr></tbody></table>"
    markdown = (
        "# 1. The data\n\n<script>alert('cell')</script>\n\nAn <img src='http://example.org/track.png'>"
        "<b onclick='alert(1)'>bold</b> [run](javascript:alert(1)) [code](../../../soundfusion_lib/cli.py)\n\n"
        "<details><summary>Answer</summary>\n\nfolded $\\text{<script>alert('formula')</script>}$\n\n</details>"
    )
    code = nbformat.v4.new_code_cell("1 < 2", outputs=[nbformat.v4.new_output("execute_result", {"text/html": html})])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(markdown), code])
    (folder / "notebooks").mkdir(parents=True)
    (folder / "tables").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "01_data.ipynb")
    table = pd.DataFrame(
        {"label": [HOSTILE, "a | b"], "track_accuracy": [0.5, 0.25], "track_low": 0.1, "track_high": 1}
    )
    table.to_csv(folder / "tables" / "01_labels.csv", index=False)
    entry = {"finished": "2026-01-01", "commit": "abc", "device": "cpu", "runs": {}}
    entry["results"] = {"tables/01_labels.csv": f"Labels, {HOSTILE}"}
    summary = {"corpus": HOSTILE, "label": "genre", "synthetic": False, "tracks": 2, "left_out": 0}
    (folder / "summary.json").write_text(json.dumps(summary | {"notebooks": {"01_data": entry}}))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for name in PROFILES:
        shutil.copytree(PROJECT / "results" / name, folder / name)
    hostile_results(folder / "hostile")
    return folder


@pytest.fixture(scope="module")
def site(results, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDFUSION_RESULTS", str(results))
        return write_site(tmp_path_factory.mktemp("site") / "site")


@pytest.fixture(scope="module")
def pages(site):
    return {file: BeautifulSoup(file.read_bytes(), "html.parser") for file in site.rglob("*.html")}


def test_nothing_is_loaded_from_elsewhere_and_no_script_is_there(pages, site):
    for file, soup in pages.items():
        loaded = [tag[key] for name, key in LOADED for tag in soup(name) if tag.get(key)]
        assert loaded and not soup(["script", "iframe", "object", "embed", "style"]), file
        for address in loaded:
            parts = urlsplit(address)
            assert address.startswith(("data:image/", "data:audio/")) or not (parts.scheme or parts.netloc), address
        attributes = {name for tag in soup(True) for name in tag.attrs}
        assert not {name for name in attributes if name.startswith("on") or name == "srcset"}, file
    assert "url(" not in (site / "style.css").read_text() and "@import" not in (site / "style.css").read_text()


def test_every_link_and_anchor_resolves(pages, site):
    count = 0
    for file, soup in pages.items():
        addresses = [tag[key] for name, key in (*LOADED, ("a", "href")) for tag in soup(name) if tag.get(key)]
        for address in addresses:
            parts = urlsplit(address)
            if parts.scheme:
                assert parts.scheme in ("http", "https", "data")
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file() and target.is_relative_to(site), f"{file}: {address}"
            if parts.fragment:
                assert pages[target].find(id=parts.fragment), f"{file}: {address}"
            count += 1
    assert count > 500


def test_no_file_is_without_a_way_to_it(pages, site):
    linked = {site / "index.html"}
    for file, soup in pages.items():
        for name, key in (*LOADED, ("a", "href")):
            linked |= {(file.parent / unquote(urlsplit(tag[key]).path)).resolve() for tag in soup(name) if tag.get(key)}
    assert {file for file in site.rglob("*") if file.is_file()} <= linked


def test_every_page_has_a_title_a_language_one_heading_and_every_picture_a_description(pages):
    titles = [soup.title.get_text() for soup in pages.values()]
    assert len(set(titles)) == len(titles) and all(titles)
    for file, soup in pages.items():
        assert soup.html["lang"] == "en" and soup.find("meta", attrs={"name": "viewport"}), file
        assert len(soup("h1")) == 1 and soup.find("a", class_="skip")["href"] == "#main", file
        identifiers = [tag["id"] for tag in soup(id=True)]
        assert len(identifiers) == len(set(identifiers)), file
        descriptions = [tag.get("alt", "").strip() for tag in soup("img")]
        assert not [text for text in descriptions if not text or "No description" in text], file


@pytest.mark.parametrize("name", PROFILES)
def test_every_committed_table_figure_and_notebook_is_there_and_what_is_missing_is_named(name, pages, site):
    folder = PROJECT / "results" / name
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    soup = pages[site / f"results/{name}/index.html"]
    text = soup.get_text()
    for notebook, entry in summary["notebooks"].items():
        for file, caption in entry["results"].items():
            assert caption in text and (site / "results" / name / file).read_bytes() == (folder / file).read_bytes()
        home = "notebooks" if name == "demo" else f"results/{name}/notebooks"
        executed = pages[site / f"{home}/{notebook}.html"]
        source = nbformat.read(PROJECT / home / f"{notebook}.ipynb", as_version=4)
        assert len(executed("div", class_="code_cell")) == sum(cell.cell_type == "code" for cell in source.cells)
    missing = [file.stem for file in notebook_files() if file.stem not in summary["notebooks"]]
    named = soup.find(string=lambda string: "Not run on this music yet" in string) or ""
    assert named.count(";") + bool(named) == len(missing)


def test_the_numbers_are_those_of_the_tables_with_the_reported_ones_beside(pages, site):
    table = pd.read_csv(PROJECT / "results" / "emotify" / "tables" / "05_performance.csv")
    [row] = table[table["model"] == "ResNet1D-m"].itertuples()
    own = f"{row.track_accuracy:.3f} [{row.track_low:.3f}, {row.track_high:.3f}]".replace(" ", "\N{NO-BREAK SPACE}")
    for address in ("index.html", "results/emotify/index.html", "networks/resnet1d.html"):
        rows = [[cell.get_text() for cell in row("td")] for row in pages[site / address]("tr")]
        [cells] = [cells for cells in rows if own in cells and f"{row.track_reported:.3f}" in cells][:1]
        assert "ResNet1D-m" in cells
    cell = pages[site / "index.html"].find("td", string=own)
    assert cell["class"] == ["number"] and cell.find_previous("td")["class"] == ["words"]


def test_the_index_has_the_readme_s_question_and_answer(pages, site):
    soup, readme = pages[site / "index.html"], (PROJECT / "README.md").read_text(encoding="utf-8")
    assert f"**{soup.h1.get_text()}**" in " ".join(readme.split())
    answer = " ".join(soup.find(class_="answer").get_text().replace("\N{NO-BREAK SPACE}", " ").split())
    said = readme.split("<!-- findings -->")[1].split("<!-- end of findings -->")[0]
    assert answer == " ".join(said.replace("*", "").split()) and opening().caption == soup.img["alt"]


def test_a_label_called_script_is_text(pages, site):
    soup = pages[site / "results/hostile/index.html"]
    assert soup.find("td", string=HOSTILE) and soup.find("td", string="a | b")
    assert soup.find("h3", string=f"Labels, {HOSTILE}")


def test_a_notebook_keeps_what_it_says_and_loses_what_it_would_run(pages, site):
    soup = pages[site / "results/hostile/notebooks/01_data.html"]
    html = str(soup)
    assert "alert('output')" not in html and "alert('cell')" not in html and "example.org" not in html
    assert "javascript:" not in html and "onclick" not in html and not soup("script")
    article = soup.find("article")
    assert article.find("b", string="bold") and article.find("details").summary.get_text() == "Answer"
    assert not article("a") and "run code" in article.get_text()  # what leads nowhere is text
    assert article.find("td") is not None and "1 < 2" in article.get_text()


def test_formulas_are_mathml_and_a_broken_one_is_shown_as_it_was_written(pages, site):
    formulas = pages[site / "notebooks/05_fusion.html"]("math")
    assert any("softmax" in formula.get_text() for formula in formulas)
    assert "$" not in pages[site / "notebooks/05_fusion.html"].find("article").get_text()
    html = markup.markdown(r"$x_1 < 2$ and $\begin{bmatrix} 1$", lambda link: None)
    assert "<msub><mi>x</mi><mn>1</mn></msub>" in html and "&lt;" in html
    assert r"\begin{bmatrix}" in html or "<mtable>" in html


def test_sounds_are_the_demo_s_and_nobody_else_s(pages, site):
    soup = pages[site / "sounds/index.html"]
    files = [site / "sounds" / tag["src"] for tag in soup("audio")]
    assert len(files) == 8 and "Synthetic music" in soup.get_text()
    for file in files:
        samples, rate = soundfile.read(file)
        assert rate == 44_100 and 3.4 < len(samples) / rate < 3.7 and abs(samples).max() > 0.05
        assert file.stat().st_size < 100_000
    assert pages[site / "notebooks/01_data.html"]("audio")  # synthetic
    real = pages[site / "results/hostile/notebooks/01_data.html"]
    assert not real("audio") and "data:audio" not in str(real) and "The sound is left out" in real.get_text()


def test_every_model_has_a_page_with_its_rows_figures_and_layers(pages, site):
    assert {network.model for network in NETWORKS} == set(MODELS)
    for network in NETWORKS:
        soup = pages[site / f"networks/{network.model}.html"]
        assert soup.find(id="layers").find_next("table") and soup("figure"), network.model
        assert network.documentation.split("\n")[0] in soup.find("pre", class_="docstring").get_text()
    card = pages[site / "networks/fusion_decision.html"].find(class_="card")
    assert "Training data" in card.get_text() and not pages[site / "networks/nnet1.html"].find(class_="card")


def test_rows_of_a_network_are_not_those_of_another():
    [fusion] = [network for network in NETWORKS if network.title == "SoundFusion-1"]
    [nnet] = [network for network in NETWORKS if network.title == "nnet2"]
    assert fusion.is_in("SoundFusion-1 (feature concatenation)") and fusion.is_in("SoundFusion-1 of trained parts")
    assert not fusion.is_in("SoundFusion-12") and not fusion.is_in("two SoundFusion-1, averaged")
    assert nnet.is_in("nnet2, no regularization") and not nnet.is_in("nnet1") and nnet.is_in("probe of nnet2, random")


def test_numbers_of_a_table_are_told_from_words():
    assert markup.kind(["0.5\N{NO-BREAK SPACE}[0.4,\N{NO-BREAK SPACE}0.6]", "-", "12,345"]) == "number"
    assert markup.kind(["+0.037", "<0.001", "1e-05", "25%"]) == "number"
    assert markup.kind(["0.5", "not run"]) == markup.kind([]) == "words"
    assert markup.kind(["short", "a note that goes on for more than a line of a table"]) == "prose"


def test_an_older_site_is_replaced_and_another_folder_is_not(site, tmp_path_factory, tmp_path, monkeypatch):
    results = tmp_path_factory.mktemp("hostile")
    hostile_results(results / "hostile")
    (results / "hostile" / "notebooks" / "01_data.ipynb").unlink()
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(results))
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "index.html").write_text("<h1>My thesis</h1>")
    answer = CliRunner().invoke(main, ["site", str(folder)])
    assert answer.exit_code == 1 and "is no site of ours" in answer.output
    assert [file.name for file in tmp_path.rglob("*")] == ["thesis", "index.html"]
    (folder / "index.html").write_bytes((site / "index.html").read_bytes())
    (folder / "old.html").write_text("of an older version")
    (folder / ".git").mkdir()
    answer = CliRunner().invoke(main, ["site", str(folder)])
    assert answer.exit_code == 1 and "holds .git, which is none of the site's" in answer.output
    (folder / ".git").rmdir()
    answer = CliRunner().invoke(main, ["site", str(folder)])
    assert answer.exit_code == 0, answer.output
    assert not (folder / "old.html").exists() and [file.name for file in tmp_path.iterdir()] == ["thesis"]
    assert not (folder / "results" / "demo").exists()
    assert "The executed notebook is not kept" in (folder / "results" / "hostile" / "index.html").read_text()
    assert (folder / "notebooks" / "index.html").read_text().count("not on hostile") == len(notebook_files())
    assert (folder / "sounds" / "rock.mp3").read_bytes() == (site / "sounds" / "rock.mp3").read_bytes()


def test_a_site_that_cannot_be_made_whole_leaves_the_one_before(site, results, tmp_path, monkeypatch):
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    broken = tmp_path / "results"
    shutil.copytree(results / "hostile", broken / "hostile")
    (broken / "hostile" / "tables" / "01_labels.csv").unlink()
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(broken))
    with pytest.raises(FileNotFoundError):
        write_site(folder)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results", "site"]
    assert (folder / "index.html").read_bytes() == (site / "index.html").read_bytes()
    monkeypatch.setenv("SOUNDFUSION_RESULTS", str(tmp_path / "none"))
    assert "soundfusion reproduce" in CliRunner().invoke(main, ["site", str(tmp_path / "new")]).output
    assert not (tmp_path / "new").exists()


def test_the_workflow_publishes_what_make_site_writes():
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8"))
    [job] = workflow["jobs"].values()
    [upload] = [step["with"] for step in job["steps"] if "upload-pages-artifact" in step.get("uses", "")]
    [folder] = [parameter.default for parameter in main.commands["site"].params]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make site"] and upload == {"path": folder}
    assert "\nsite: $(READY)\n\t$(BIN)/soundfusion site\n" in (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert f"/{folder}/" in (PROJECT / ".gitignore").read_text(encoding="utf-8").splitlines()
