"""Drawings of nets: blocks of layers, laid out by Graphviz, as SVG, PNG, PDF or an HTML page."""
