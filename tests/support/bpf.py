"""Run a seccomp program without a kernel: what would it say about this system call?"""

from __future__ import annotations

import struct

KILL_PROCESS, KILL_THREAD, ALLOW, LOG = 0x80000000, 0x00000000, 0x7FFF0000, 0x7FFC0000
EPERM, EINVAL, ENOSYS = 1, 22, 38


def errno_action(number: int) -> int:
    return 0x00050000 | number


def run(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Return the action for a system call; raises ``AssertionError`` for a program the kernel would refuse."""
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    assert len(program) % 8 == 0
    assert 0 < len(program) <= 4096 * 8
    accumulator = index = position = 0
    memory = [0] * 16
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, position * 8)
        position += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x00:
                accumulator = value
            case 0x01:
                index = value
            case 0x60:
                accumulator = memory[value]
            case 0x02:
                memory[value] = accumulator
            case 0x54:
                accumulator &= value
            case 0x07:
                index = accumulator
            case 0x87:
                accumulator = index
            case 0x05:
                position += value
            case 0x15:
                position += yes if accumulator == value else no
            case 0x25:
                position += yes if accumulator > value else no
            case 0x35:
                position += yes if accumulator >= value else no
            case 0x45:
                position += yes if accumulator & value else no
            case 0x06:
                return value
            case _:
                raise AssertionError(f"instruction {code:#x} at {position - 1}")
