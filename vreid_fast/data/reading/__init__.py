"""From files to pixels: what reads, decodes and keeps frames."""
