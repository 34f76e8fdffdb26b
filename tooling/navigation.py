"""Links to the notebooks before and after, at the top and bottom of each: python tooling/navigation.py writes them."""

from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]


def title(notebook: nbformat.NotebookNode) -> str:
    """Its first heading."""
    return (
        next(cell.source for cell in notebook.cells if cell.source.startswith("# ")).splitlines()[0].removeprefix("# ")
    )


def navigate(files: list[Path]) -> dict[Path, str]:
    """The line of links of each notebook; the overview is, in a copy among a profile's results, the page of these."""
    links = [f"[{title(nbformat.read(file, as_version=4))}]({file.name})" for file in files]
    before = ["", *(f"← {link} · " for link in links[:-1])]
    after = [*(f" · {link} →" for link in links[1:]), ""]
    return {file: f"{a}[overview](../README.md){b}" for file, a, b in zip(files, before, after, strict=True)}


if __name__ == "__main__":
    for file, line in navigate(sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))).items():
        notebook = nbformat.read(file, as_version=4)
        cells = [cell for cell in notebook.cells if not cell.id.startswith("navigation")]
        top, bottom = (nbformat.v4.new_markdown_cell(line, id=f"navigation-{place}") for place in ("top", "bottom"))
        notebook.cells = [top, *cells, bottom]
        nbformat.write(notebook, file)
