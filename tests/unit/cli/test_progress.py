import io

import pytest

from rootless.cli import progress, units

DIGEST = "sha256:a2abf6c4d29d43a4bf9fbb769f524d0fb36a2edab49819c1bf3e76f409f953ea"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_display_writes_each_status_once_and_no_amounts():
    stream = io.StringIO()
    display = progress.create(stream)
    display.message("latest: Pulling from library/nginx")
    display.layer(DIGEST, "Pulling fs layer")
    for current in (1, 2, 3):
        display.layer(DIGEST, "Downloading", current, 3)
    display.layer(DIGEST, "Download complete")
    display.layer(DIGEST, "Download complete")
    display.layer(DIGEST, "Pull complete")
    display.close()
    assert stream.getvalue().splitlines() == [
        "latest: Pulling from library/nginx",
        "a2abf6c4d29d: Pulling fs layer",
        "a2abf6c4d29d: Download complete",
        "a2abf6c4d29d: Pull complete",
    ]


def test_quiet_display_writes_nothing():
    stream = Terminal()
    display = progress.create(stream, quiet=True)
    display.layer(DIGEST, "Downloading", 1, 2)
    display.message("x")
    display.close()
    assert stream.getvalue() == ""


def test_terminal_display_rewrites_lines_in_place(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    display = progress.create(stream)
    display.layer(DIGEST, "Pulling fs layer")
    display.layer("sha256:" + "b" * 64, "Waiting")
    display.layer(DIGEST, "Pull complete")
    display.message("Status: done")
    display.close()
    screen = render(stream.getvalue())
    assert screen == ["a2abf6c4d29d: Pull complete", "bbbbbbbbbbbb: Waiting", "Status: done"]


def test_amounts_that_come_too_fast_are_drawn_at_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    display = progress.create(stream)
    for current in range(1, 1001):
        display.layer(DIGEST, "Downloading", current * 1000, 1000_000)
    display.close()
    assert render(stream.getvalue()) == ["a2abf6c4d29d: Downloading      1MB/1MB"]
    assert stream.getvalue().count("\n") < 100


def test_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress.create(Terminal()), progress.PlainDisplay)


def render(text):
    """Play ``text`` on a screen that knows the sequences we use."""
    lines, row, column, position = [""], 0, 0, 0
    while position < len(text):
        char = text[position]
        position += 1
        if char == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif char == "\r":
            column = 0
        elif char == "\x1b":
            end = next(index for index in range(position, len(text)) if text[index].isalpha())
            if text[end] == "A":
                row -= int(text[position + 1 : end])
            elif text[position : end + 1] == "[2K":
                lines[row] = ""
            else:
                raise AssertionError(text[position : end + 1])
            position = end + 1
        else:
            lines[row] = lines[row][:column] + char
            column += 1
    return lines if lines[-1] else lines[:-1]


@pytest.mark.parametrize(
    ("current", "total", "columns", "expected"),
    [
        (0, 0, 200, ""),
        (512, 0, 200, "512B"),
        (1_200_000, 31_400_000, 80, "   1.2MB/31.4MB"),
        (50, 100, 200, "[" + "=" * 24 + ">" + " " * 25 + "]      50B/100B"),
        (100, 100, 200, "[" + "=" * 50 + "]     100B/100B"),
    ],
)
def test_bar(current, total, columns, expected):
    assert progress.bar(current, total, columns) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_234_567, "1.235MB"), (187_123_456, "187.1MB"), (10**12, "1TB")],
)
def test_human_size(size, expected):
    assert units.human_size(size) == expected


def test_binary_size():
    assert units.binary_size(4_123_456_789) == "3.84GiB"
