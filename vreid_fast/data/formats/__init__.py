"""Readers of data sets on disk, one module a format: reader(path) -> Dataset."""

from .folder import read_folder
from .mars import read_mars

FORMATS = {"folder": read_folder, "mars": read_mars}
