"""Vectors of tracklets for use elsewhere: in a folder of files, or one call at a time."""
