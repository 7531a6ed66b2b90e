"""Reads a dependency graph from a file: who depends on whom.

Three shapes are told apart by their content, never by the file's name:

- JSON: node-link as networkx writes it (`nodes` with `id`, `edges` or `links` with `source` and `target`), or `edges`
  as pairs of names
- CSV adjacency: first row and first column hold names, a cell that is not 0 means "row depends on column"
- CSV edge list: two columns, with or without a header such as `source,target` or `caller,callee`
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import SourceError
from engine.topology import Edge, Topology

if TYPE_CHECKING:
    import networkx as nx

_HEADERS = {
    ("source", "target"), ("from", "to"), ("caller", "callee"), ("src", "dst"), ("parent", "child"), ("u", "v"),
}  # fmt: skip


def load_graph(path: Path) -> nx.DiGraph[str]:
    """Return the graph in `path`: an edge from whoever depends to what it depends on (caller to callee).

    Raises SourceError, one line naming the file and what is wrong, when it cannot be read as any of the shapes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot read the graph: {getattr(error, 'strerror', None) or error}") from error
    if not text.strip():
        raise SourceError(f"{path}: the graph file is empty")
    if text.lstrip()[0] in "{[":
        return _of_json(path, text)
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    return _of_adjacency(path, rows) if _is_adjacency(rows) else _of_edges(path, rows)


def topology_of(graph: nx.DiGraph[str]) -> Topology:
    """Return a graph as the engine's topology, every edge a call seen at time 0."""
    return Topology({Edge(source, target, "calls"): 0 for source, target in sorted(graph.edges)})


def _is_adjacency(rows: list[list[str]]) -> bool:
    """Return whether the rows are a matrix of numbers with names above and beside it, and no edges between numbers."""
    header, body = rows[0], rows[1:]
    if len(header) < 2 or not body or any(len(row) != len(header) for row in body):
        return False
    if tuple(cell.strip().lower() for cell in header[:2]) in _HEADERS:
        return False
    labelled = not header[0].strip() or (len(header) > 2 and {row[0] for row in body} & set(header[1:]))
    return bool(labelled) and all(_number(cell) is not None for row in body for cell in row[1:])


def _of_adjacency(path: Path, rows: list[list[str]]) -> nx.DiGraph[str]:
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    names = [cell.strip() for cell in rows[0][1:]]
    if len(set(names)) != len(names):
        raise SourceError(f"{path}: the header of the adjacency names a node twice")
    graph.add_nodes_from(names)
    for row in rows[1:]:
        source = row[0].strip()
        graph.add_node(source)
        graph.add_edges_from(
            (source, name) for name, cell in zip(names, row[1:], strict=True) if _number(cell) not in (None, 0.0)
        )
    return graph


def _of_edges(path: Path, rows: list[list[str]]) -> nx.DiGraph[str]:
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    first = tuple(cell.strip().lower() for cell in rows[0][:2])
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if number == 1 and first in _HEADERS:
            continue
        if len(cells) < 2 or not cells[0] or not cells[1]:
            raise SourceError(f"{path}: row {number}: an edge needs two names, such as 'gateway,orders'")
        graph.add_edge(cells[0], cells[1])
    return graph


def _of_json(path: Path, text: str) -> nx.DiGraph[str]:
    import networkx as nx

    try:
        data = json.loads(text)
    except ValueError as error:
        raise SourceError(f"{path}: the graph is no JSON: {error}") from error
    graph: nx.DiGraph[str] = nx.DiGraph()
    edges = data if isinstance(data, list) else data.get("edges", data.get("links"))
    nodes = [] if isinstance(data, list) else data.get("nodes", [])
    if not isinstance(edges, list) or not isinstance(nodes, list):
        raise SourceError(f"{path}: the graph needs a list 'edges' (or 'links') of source and target")
    graph.add_nodes_from(_name(path, node) for node in nodes)
    for edge in edges:
        ends = (edge.get("source"), edge.get("target")) if isinstance(edge, dict) else edge
        if not isinstance(ends, list | tuple) or len(ends) < 2:
            raise SourceError(f"{path}: an edge needs a source and a target, found {str(edge)[:60]}")
        graph.add_edge(_name(path, ends[0]), _name(path, ends[1]))
    return graph


def _name(path: Path, node: Any) -> str:
    name = node.get("id", node.get("name")) if isinstance(node, dict) else node
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        raise SourceError(f"{path}: a node needs a name, found {str(node)[:60]}")
    return str(name)


def _number(cell: str) -> float | None:
    """Return a cell as a number, an empty one as 0, or None when it is text."""
    try:
        value = float(cell) if cell.strip() else 0.0
    except ValueError:
        return None
    return value if math.isfinite(value) else None
