import pytest

from rootless.cgroups import detect, placement
from rootless.errors import InvalidArgument, Unsupported
from tests.unit.cgroups import trees

TERMINAL = f"{trees.SERVICE}/app.slice/term.scope"


@pytest.fixture
def machine(tmp_path):
    def make(own=f"{trees.USER}/session-3.scope", **options):
        arguments = trees.session(tmp_path, own=own, **options)
        host = detect.host(**arguments)
        return host, lambda **more: placement.choose(
            host, **{"data_root": "/home/u/rl", "may": arguments["writable"], **more}
        )

    return make


def test_systemd_is_chosen_where_it_answers(machine):
    host, choose = machine()
    found = choose()
    assert found.manager == "systemd"
    assert found.unit.startswith("rl-")
    assert found.unit.endswith(".scope")
    assert found.base == f"{host.mount}{trees.SERVICE}/app.slice/{found.unit}"
    assert found.controllers == ("cpu", "memory", "pids")
    assert found.buses


def test_two_data_roots_have_two_scopes(machine):
    _, choose = machine()
    assert choose().unit != choose(data_root="/home/u/other").unit
    assert choose().unit == choose(data_root="/home/u/x/../rl").unit


def test_a_slice_as_parent_has_a_scope_of_its_own(machine):
    host, choose = machine()
    found = choose(parent="web-front.slice")
    assert found.slice == "web-front.slice"
    assert found.base == f"{host.mount}{trees.SERVICE}/web.slice/web-front.slice/{found.unit}"
    assert found.unit != choose().unit


@pytest.mark.parametrize("parent", ["/a/b", "x.slice/y", ".slice", "other"])
def test_systemd_takes_slices_only(machine, parent):
    _, choose = machine()
    with pytest.raises(InvalidArgument, match="should be a valid slice"):
        choose(manager="systemd", parent=parent)


def test_without_a_bus_a_delegated_cgroup_serves(machine):
    _, choose = machine(own=TERMINAL, bus=False)
    found = choose()
    assert found.manager == "cgroupfs"
    # The nearest that passes controllers on already: no process needs to move.
    assert found.parent == f"{trees.SERVICE}/app.slice"
    assert found.controllers == ("cpu", "memory", "pids")


def test_without_delegation_there_is_no_manager(machine):
    _, choose = machine(bus=False)
    assert choose() == placement.Placement(manager="none", mount=choose().mount)


def test_naming_a_manager_that_is_not_there_is_an_error(machine):
    _, choose = machine(bus=False)
    with pytest.raises(Unsupported, match="no systemd user manager"):
        choose(manager="systemd")
    with pytest.raises(Unsupported, match="not delegated"):
        choose(manager="cgroupfs")
    with pytest.raises(Unsupported, match="not delegated"):
        choose(parent="/user.slice")
    with pytest.raises(InvalidArgument, match="invalid cgroup manager"):
        choose(manager="lxc")


def test_a_parent_may_be_made_below_what_is_ours(machine):
    host, choose = machine()
    found = choose(parent=f"{trees.SERVICE}/mine/deep")
    assert (found.manager, found.parent) == ("cgroupfs", f"{trees.SERVICE}/mine/deep")
    assert found.base.startswith(f"{host.mount}{trees.SERVICE}/mine/deep/rl-")


def test_a_parent_does_not_climb(machine):
    _, choose = machine()
    with pytest.raises(InvalidArgument):
        choose(parent=f"{trees.SERVICE}/../../..")


def test_version_1_has_no_manager_and_refuses_what_is_named():
    host = detect.Host(version=1)
    assert placement.choose(host, data_root="/x").manager == "none"
    with pytest.raises(Unsupported, match="needs cgroup version 2"):
        placement.choose(host, manager="cgroupfs", data_root="/x")
    with pytest.raises(Unsupported, match="needs cgroup version 2"):
        placement.choose(host, parent="/x", data_root="/x")


def test_slices_nest_by_name():
    assert placement.slice_path("a-b-c.slice") == "/a.slice/a-b.slice/a-b-c.slice"
    assert placement.slice_path("-.slice") == ""
    for wrong in ("a--b.slice", "-a.slice", "a-.slice"):
        with pytest.raises(InvalidArgument):
            placement.slice_path(wrong)


def test_it_travels_as_json(machine):
    from rootless import jsonlite

    _, choose = machine()
    found = choose(modules=("/a", "/b"))
    assert placement.Placement.from_plain(jsonlite.loads(jsonlite.dumps(found.plain()))) == found
