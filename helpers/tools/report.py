"""The executed notebooks as HTML, and the page that links them: `build/index.html`.

Executed notebooks and a list of key figures come in; files that need no network and no other file's scripts go out.
"""

from __future__ import annotations

import base64
import copy
import html
import re
import warnings
from pathlib import Path

from nbformat import NotebookNode

from helpers.tools.checkout import binder_folder
from helpers.tools.runner import cover, tell_of_widgets

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>From an echo service to a served prediction</title>
<style>
  :root {{ color-scheme: light dark; --ink: #222; --muted: #5f6368; --line: #d9d9d9; --paper: #fff; --accent: #0062a3 }}
  @media (prefers-color-scheme: dark) {{
    :root {{ --ink: #eee; --muted: #a8adb3; --line: #444; --paper: #16181b; --accent: #7cc0f4 }}
  }}
  body {{ font: 17px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
         max-width: 60rem; margin: 2.5rem auto; padding: 0 1rem }}
  h1 {{ line-height: 1.2; margin-bottom: .3rem }}
  a {{ color: var(--accent) }}
  dl {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0 }}
  dl div {{ border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem }}
  dt {{ color: var(--muted); font-size: .85rem }}
  dd {{ margin: 0; font-size: .85rem; overflow-wrap: anywhere }}
  dd b {{ display: block; font-size: 1.25rem; line-height: 1.4 }}
  ol {{ list-style: none; padding: 0 }}
  li {{ display: grid; grid-template-columns: 1fr 16rem; gap: 1.5rem; align-items: center;
       border-top: 1px solid var(--line); padding: 1.2rem 0 }}
  li h2 {{ font-size: 1.15rem; margin: 0 0 .3rem }}
  li p {{ margin: 0 }}
  li img {{ width: 100%; border-radius: .3rem; background: #fff }}
  @media (max-width: 40rem) {{ li {{ grid-template-columns: 1fr }} }}
</style>
<h1>From an echo service to a served prediction</h1>
<p>The notebooks as they ran on this machine, on the table <b>{data}</b>.</p>
<dl>{figures}</dl>
<ol>{notebooks}</ol>
</html>
"""


def write_html(notebook: NotebookNode, path: Path) -> None:
    """One executed notebook as an HTML page that loads nothing from another host."""
    from nbconvert import HTMLExporter

    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        tell_of_widgets(cell)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if 'id="service-page-' in output.get("data", {}).get("text/html", ""):
            output.data["text/html"] = "<p><em>Here the service shows its page while the notebook runs.</em></p>"
    exporter = HTMLExporter(require_js_url="", mathjax_url="", mermaid_js_url="", widget_renderer_url="")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # alternative text is the notebooks' business, checked by their own test
        page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": path.stem}})
    page = re.sub(r'<script[^>]*src=""[^>]*>\s*</script>', "", page)
    page = re.sub(r'href="([^":]+)\.ipynb"', r'href="\1.html"', page)  # the next notebook's page, not its source
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def show_covers(notebooks: dict[str, NotebookNode], folder: Path) -> None:
    """Put the pictures of other notebooks, which a text shows, into its page, as they were drawn in this run."""
    covers = {f"images/{name}.png": _source(cover(notebook)) for name, notebook in notebooks.items()}
    for page in (folder / f"{name}.html" for name in notebooks):
        text = page.read_text(encoding="utf-8")
        for file, source in filter(all, covers.items()):
            text = text.replace(f'src="{file}"', f'src="{source}"')
        page.write_text(text, encoding="utf-8")


def _source(picture: bytes | None) -> str:
    """A picture as the `src` of an <img>, "" where there is none."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}" if picture else ""


def write_index(notebooks: dict[str, NotebookNode], figures: list[tuple[str, str, str]], data: str, path: Path) -> None:
    """`build/index.html`: key figures as (what, value, remark), then each notebook with its purpose and its picture."""
    rows, binder = [], binder_folder()
    for name, notebook in notebooks.items():
        picture = _source(cover(notebook))
        in_binder = f' <a href="{html.escape(binder)}{name}.ipynb">Open in Binder</a>' if binder else ""
        image = f'<img alt="" src="{picture}">' if picture else ""
        rows.append(
            f'<li><div><h2>{name[:2]} <a href="{name}.html">{html.escape(title(notebook))}</a></h2>'
            f"<p>{html.escape(purpose(notebook))}{in_binder}</p></div>{image}</li>"
        )
    values = [
        f"<div><dt>{html.escape(what)}</dt><dd><b>{html.escape(value)}</b> {html.escape(remark)}</dd></div>"
        for what, value, remark in figures
    ]
    page = PAGE.format(data=html.escape(data), figures="".join(values), notebooks="".join(rows))
    path.write_text(page, encoding="utf-8")


def title(notebook: NotebookNode) -> str:
    """The text of the first heading."""
    return re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1].translate(str.maketrans("", "", "`*_"))


def purpose(notebook: NotebookNode) -> str:
    """What follows *What you'll do* in the first cell, as plain text."""
    found = re.search(r"What you'll do\W*\n*(.+?)(?:\n\n|\Z)", notebook.cells[0].source, re.DOTALL)
    text = re.sub(r"[*_`]|\[([^]]*)\]\([^)]*\)", r"\1", found[1]).replace("\n", " ").strip() if found else ""
    return text[:1].upper() + text[1:]
