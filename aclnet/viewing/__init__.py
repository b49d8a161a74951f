"""Drawings of skeletons: a recording in several forms, as a page or as a figure."""
