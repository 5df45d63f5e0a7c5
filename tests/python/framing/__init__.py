"""Framings, compared with parsers of other projects."""
