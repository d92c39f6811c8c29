"""Readers of data sets on disk, one module a format: reader(path) -> Dataset."""

from .folder import read_folder
from .mars import read_mars
from .pack import read_pack

FORMATS = {"folder": read_folder, "mars": read_mars, "pack": read_pack}
