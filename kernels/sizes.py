"""How launchers cut tensors: Triton's own functions of these names take 2 to 4 us a call, a launch takes 8."""


def cdiv(number: int, size: int) -> int:
    """Blocks of `size` that hold `number`."""
    return -(-number // size)


def next_power_of_2(number: int) -> int:
    """The least power of 2 that is no less."""
    return 1 << (number - 1).bit_length() if number > 0 else 1
