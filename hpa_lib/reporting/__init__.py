"""Stored results -> numbers, tables and the page."""
