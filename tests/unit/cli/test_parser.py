import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli import options, parser
from rootless.cli.parser import RefusedOption, UsageError, check_arguments, parse

ROWS = (
    ("all", "a", "bool", ""),
    ("detach", "d", "bool", ""),
    ("interactive", "i", "bool", ""),
    ("tty", "t", "bool", ""),
    ("name", "", "string", ""),
    ("last", "n", "int", ""),
    ("publish", "p", "list", ""),
    ("network", "", "network", ""),
    ("net", "", "=network", ""),
    ("memory", "m", "!bytes", ""),
    ("swap", "", "!bool", ""),
    ("ipc", "", "!string", ""),
)
HARMLESS = {"ipc": ("", "private")}


def run(*argv, interspersed=True):
    return parse(ROWS, argv, interspersed=interspersed, harmless=HARMLESS)


@pytest.mark.parametrize(
    ("argv", "values", "arguments"),
    [
        ((), {}, []),
        (("x", "y"), {}, ["x", "y"]),
        (("-a", "x"), {"all": True}, ["x"]),
        (("x", "-a"), {"all": True}, ["x"]),
        (("--all=false",), {"all": False}, []),
        (("--all=T",), {"all": True}, []),
        (("-a=false",), {"all": False}, []),
        (("-itd", "x"), {"interactive": True, "tty": True, "detach": True}, ["x"]),
        (("-dp", "80:80", "x"), {"detach": True, "publish": ["80:80"]}, ["x"]),
        (("-p80:80",), {"publish": ["80:80"]}, []),
        (("-p=80:80",), {"publish": ["80:80"]}, []),
        (("-p", "80", "--publish", "81", "--publish=82"), {"publish": ["80", "81", "82"]}, []),
        (("--name", "web"), {"name": "web"}, []),
        (("--name=a=b",), {"name": "a=b"}, []),
        (("--name=",), {"name": ""}, []),
        (("--name", "--all"), {"name": "--all"}, []),
        (("-n", "5"), {"last": 5}, []),
        (("-n5",), {"last": 5}, []),
        (("-n", "-1"), {"last": -1}, []),
        (("--net", "host"), {"network": ["host"]}, []),
        (("--", "-a"), {}, ["-a"]),
        (("-", "x"), {}, ["-", "x"]),
        (("--name", "a", "--name", "b"), {"name": "b"}, []),
        (("--swap=false",), {}, []),
        (("--ipc", "private"), {}, []),
    ],
)
def test_grammar_is_that_of_docker(argv, values, arguments):
    assert run(*argv) == (values, arguments)


def test_options_stop_at_the_first_argument_where_a_command_line_follows():
    assert run("-i", "busybox", "ls", "-a", "--name", interspersed=False) == (
        {"interactive": True},
        ["busybox", "ls", "-a", "--name"],
    )


def test_double_dash_before_the_image_is_dropped():
    assert run("-i", "--", "busybox", "--", interspersed=False) == ({"interactive": True}, ["busybox", "--"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--foo",), "unknown flag: --foo"),
        (("--foo=x",), "unknown flag: --foo"),
        (("-Z",), "unknown shorthand flag: 'Z' in -Z"),
        (("-aZ",), "unknown shorthand flag: 'Z' in -aZ"),
        (("--name",), "flag needs an argument: --name"),
        (("-p",), "flag needs an argument: 'p' in -p"),
        (("-dp",), "flag needs an argument: 'p' in -dp"),
        (("-n", "x"), 'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (
            ("--all=maybe",),
            'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
    ],
)
def test_mistakes_are_named_in_the_words_of_docker(argv, message):
    with pytest.raises(UsageError) as raised:
        run(*argv)
    assert raised.value.message == message


def test_misspelt_option_suggests_the_one_meant():
    with pytest.raises(UsageError) as raised:
        run("--detatch")
    assert raised.value.hint == "did you mean --detach?"


@pytest.mark.parametrize("argv", [("-m", "1g"), ("--memory=1g",), ("--swap",), ("--ipc", "host")])
def test_option_that_rl_lacks_is_refused_by_name(argv):
    with pytest.raises(RefusedOption, match=r"^--(memory|swap|ipc) is not supported yet$"):
        run(*argv)


def test_h_is_help_unless_a_row_claims_it():
    assert run("-h") == ({"help": True}, [])
    assert parse(options.RUN, ["-h", "box", "image"], interspersed=False) == ({"hostname": "box"}, ["image"])


def test_help_wins_over_what_follows_it():
    assert run("--help", "--nonsense")[0] == {"help": True}


@pytest.mark.parametrize(
    ("limits", "count", "message"),
    [
        ((1, None), 0, "'rl x' requires at least 1 argument"),
        ((2, None), 1, "'rl x' requires at least 2 arguments"),
        ((1, 1), 2, "'rl x' requires 1 argument"),
        ((2, 2), 1, "'rl x' requires 2 arguments"),
        ((0, 0), 1, "'rl x' accepts no arguments"),
        ((0, 1), 2, "'rl x' requires at most 1 argument"),
        ((1, 2), 0, "'rl x' requires at least 1 and at most 2 arguments"),
    ],
)
def test_number_of_arguments_is_checked(limits, count, message):
    with pytest.raises(UsageError) as raised:
        check_arguments("rl x", limits, ["a"] * count)
    assert raised.value.message == message


def test_allowed_numbers_of_arguments_pass():
    for limits, count in (((1, None), 5), ((0, 0), 0), ((0, 1), 1), ((2, 2), 2)):
        check_arguments("rl x", limits, ["a"] * count)


@pytest.mark.parametrize("rows", [options.RUN, options.CREATE, options.EXEC])
def test_tables_are_sound(rows):
    names = [row[0] for row in rows]
    shorts = [row[1] for row in rows if row[1]]
    assert len(set(names)) == len(names)
    assert len(set(shorts)) == len(shorts)
    for name, short, kind, text in rows:
        assert len(short) <= 1
        if kind[0] == "=":
            assert kind[1:] in names
        elif kind[0] != "!":
            assert text, name


def test_create_has_what_run_has_but_the_options_of_the_foreground():
    assert {row[0] for row in options.RUN} - {row[0] for row in options.CREATE} == {
        "detach",
        "detach-keys",
        "sig-proxy",
    }


@given(st.lists(st.text(alphabet="-=abdinptm0 ", max_size=6), max_size=6), st.booleans())
def test_any_words_parse_or_are_refused(words, interspersed):
    try:
        values, arguments = run(*words, interspersed=interspersed)
    except (UsageError, RefusedOption):
        return
    assert len(arguments) <= len(words)
    assert all(isinstance(values[name], (bool, int, str, list)) for name in values)


@given(st.lists(st.text(min_size=1, max_size=8), max_size=5))
def test_everything_after_a_double_dash_is_an_argument(words):
    assert run("--", *words) == ({}, words)


def test_kinds_of_lists_are_known_to_the_tables():
    kinds = {row[2] for rows in (options.RUN, options.EXEC, options.UPDATE) for row in rows if row[2][0] not in "!="}
    assert kinds <= parser.LISTS | {"bool", "bytes", "decimal", "int", "string"}
