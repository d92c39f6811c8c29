"""How large pictures may be, of image files and of videos."""

MOST_PIXELS = 1 << 26
"""67 million, such as 8192 x 8192; a small file may hold many more, and take all memory."""
LEAST_SIDE = 2
"""Of an image; what is smaller is an empty box of a detector, and would be enlarged to one plain colour."""
