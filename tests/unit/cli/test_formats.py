import pytest

from rootless.cli import formats, tables
from rootless.errors import InvalidArgument

HEADERS = {"ID": "CONTAINER ID", "Names": "NAMES", "Ports": "PORTS", "Labels": "LABELS"}
ROWS = [
    {"ID": "a" * 12, "Names": "web", "Ports": "0.0.0.0:8080->80/tcp", "Labels": "a.x-y=1", "Label": {"a.x-y": "1"}.get},
    {"ID": "c" * 12, "Names": "longer_name_here", "Ports": "", "Labels": "", "Label": {"a.x-y": ""}.get},
]


@pytest.fixture
def write(capsys):
    def write(template):
        formats.write_rows(template, ("ID", "Names", "Ports"), HEADERS, ROWS)
        return capsys.readouterr().out

    return write


TABLE = (
    "CONTAINER ID   NAMES              PORTS\n"
    "aaaaaaaaaaaa   web                0.0.0.0:8080->80/tcp\n"
    "cccccccccccc   longer_name_here   \n"
)


@pytest.mark.parametrize("template", ["", "table", r"table {{.ID}}\t{{.Names}}\t{{.Ports}}"])
def test_table_is_aligned_as_docker_aligns_it(write, template):
    assert write(template) == TABLE


def test_headings_are_left_alone_by_functions(write):
    assert write('table {{upper .Names}}\t{{.Label "a.x-y"}}') == (
        "NAMES              x y\nWEB                1\nLONGER_NAME_HERE   \n"
    )


def test_plain_template_is_a_line_for_each_row(write):
    assert write(r"{{.Names}}\t{{.ID}}") == "web\taaaaaaaaaaaa\nlonger_name_here\tcccccccccccc\n"


def test_json_is_an_object_a_line_with_sorted_keys(write):
    assert write("json").splitlines()[1] == '{"ID":"cccccccccccc","Labels":"","Names":"longer_name_here","Ports":""}'


def test_unknown_field_is_refused(write):
    with pytest.raises(InvalidArgument, match="can't evaluate field Nope"):
        write("table {{.Nope}}")


def test_short_columns_have_ten_cells():
    assert tables.render([["A", "B"], ["1", "2"]]) == "A         B\n1         2\n"


def test_wide_characters_take_two_cells():
    assert tables.render([["日本語日本語", "B"], ["x", "y"]]) == "日本語日本語   B\nx              y\n"


def test_a_line_without_a_cell_ends_its_column():
    assert tables.render([["a" * 20, "b"], ["plain"], ["c", "d"]]) == f"{'a' * 20}   b\nplain\nc         d\n"


def test_object_as_json(capsys):
    formats.write_object("json", {"Labels": {"b": "1", "a": "2"}, "A": None})
    assert capsys.readouterr().out == '{"Labels":{"a":"2","b":"1"},"A":null}\n'
