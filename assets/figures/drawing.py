"""A finished picture in both its forms: as a PNG for the UI, and as SVG for the report."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

DPI = 150
LEAST_SCALE = 1.1  # CSS pixels a point at least, so that the smallest text, of 10 points, has 11 pixels on a phone
MOST_SCALE = 1.5
_THEMED = {
    "#000000": "var(--ink, #000)",
    "#ffffff": "var(--page, #fff)",
    "#d8d8d8": "var(--line, #d8d8d8)",
}  # dark pages turn them round
_LONG_NUMBER = re.compile(r"(-?\d+\.\d\d)\d+")


class Drawing(NamedTuple):
    """A picture: a PNG as a data URI, and SVG markup, whose text and lines have the colours of the page."""

    uri: str
    svg: str


def finish(drawn: Figure, told: Mapping[Any, Any] | None = None) -> Drawing:
    """Return the figure in both forms; the same figure gives the same bytes.

    `told` are texts that pointing at a mark of the SVG shows: by a scatter or a line, one a point; by an image, a list
    a row of cells, with None where there is no cell.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    drawn.set_dpi(DPI)
    FigureCanvasAgg(drawn).print_png(buffer, metadata={"Software": None})  # savefig would draw everything twice
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Drawing(uri, _to_svg(drawn, told or {}, salt=hashlib.sha256(buffer.getvalue()).hexdigest()))


def _to_svg(drawn: Figure, told: Mapping[Any, Any], *, salt: str) -> str:
    """Return the markup; the ids in it are made from `salt`, so that no other picture on a page has them."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.image import AxesImage

    images = {artist: texts for artist, texts in told.items() if isinstance(artist, AxesImage)}
    points = {f"told_{at}": texts for at, (artist, texts) in enumerate(told.items()) if artist not in images}
    for at, artist in enumerate(told):
        artist.set_gid(f"told_{at}")
    for image in images:
        image.set_visible(False)  # its cells are drawn as shapes, which stay sharp
    drawn.patch.set_visible(False)
    for axes in drawn.axes:
        axes.patch.set_visible(False)
    drawn.set_dpi(72)
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        FigureCanvasSVG(drawn).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    page = ET.fromstring(buffer.getvalue())
    for element in page.iter():  # inside HTML, SVG needs no namespaces
        element.tag = element.tag.partition("}")[2]
        if link := element.attrib.pop("{http://www.w3.org/1999/xlink}href", None):
            element.set("href", link)
    for group in page.iter("g"):
        _add_titles(group, points.get(group.get("id", ""), ()))
        group.attrib.pop("id", None)  # `figure_1` and the like are not
    for image, texts in images.items():
        page.insert(0, _draw_cells(image, texts, height=72 * drawn.get_figheight()))
    return _trim(page, width=72 * drawn.get_figwidth())


def _add_titles(group: ET.Element, texts: Sequence[str]) -> None:
    inside_defs = {mark for defs in group.iter("defs") for mark in defs.iter()}
    marks = [mark for mark in group.iter() if mark.tag in ("use", "path") and mark not in inside_defs]
    if len(marks) != len(texts):  # a point outside the axes is not drawn
        return
    for mark, text in zip(marks, texts, strict=True):
        ET.SubElement(mark, "title").text = text


def _draw_cells(image: AxesImage, texts: Sequence[Sequence[str | None]], *, height: float) -> ET.Element:
    """Return a rectangle for each cell of an image, with its text."""
    from matplotlib.colors import to_hex

    box = image.axes.get_window_extent()  # in points, as the figure has 72 of them an inch
    colors = image.to_rgba(np.asarray(image.get_array()))
    wide, high = box.width / len(texts[0]), box.height / len(texts)
    cells = ET.Element("g")
    for row, across in enumerate(texts):
        line = ET.SubElement(cells, "g", transform=f"translate({box.x0:.2f} {height - box.y1 + row * high:.2f})")
        for column, text in enumerate(across):
            if text is None:
                continue
            size = {"width": f"{wide:.2f}", "height": f"{high:.2f}"}
            fill = to_hex(colors[row, column])
            cell = ET.SubElement(line, "rect", {"x": f"{column * wide:.2f}", "fill": fill, **size})
            ET.SubElement(cell, "title").text = text
    return cells


def _trim(page: ET.Element, *, width: float) -> str:
    """Return the markup without what a page has no use for."""
    for child in list(page):
        if child.tag == "metadata" or (child.tag == "defs" and child.find("style") is not None):
            page.remove(child)  # a style inside a page holds for the whole page
    for name in ("width", "height", "version"):
        page.attrib.pop(name, None)
    page.set(
        "style",
        f"min-width:{LEAST_SCALE * width:.0f}px;max-width:{MOST_SCALE * width:.0f}px;width:100%;"
        "stroke-linejoin:round;fill:var(--ink, #000)",
    )
    for element in page.iter():
        for name in ("d", "x", "y", "transform", "style"):
            if value := element.get(name):
                for color, themed in _THEMED.items():
                    value = value.replace(color, themed)
                element.set(
                    name, _LONG_NUMBER.sub(r"\1", re.sub(r"'DejaVu Sans'[^;]*", "system-ui, sans-serif", value))
                )
        if element.tag in ("svg", "g", "defs"):
            element.text = None
        element.tail = None
    return ET.tostring(page, encoding="unicode")
