from rootless.cgroups import detect
from tests.unit.cgroups import trees


def test_a_login_session_is_not_ours_but_the_user_managers_cgroup_is(tmp_path):
    host = detect.host(**trees.session(tmp_path, own=f"{trees.USER}/session-3.scope"))
    assert (host.version, host.own, host.top) == (2, f"{trees.USER}/session-3.scope", "")
    assert host.service == trees.SERVICE
    assert host.granted == ("cpu", "memory", "pids")
    assert "io" in host.offered
    assert host.session


def test_top_is_the_highest_ancestor_that_is_ours(tmp_path):
    host = detect.host(**trees.session(tmp_path, own=f"{trees.SERVICE}/app.slice/term.scope"))
    assert host.top == trees.SERVICE


def test_a_manager_without_delegation_is_seen_as_such(tmp_path):
    host = detect.host(**trees.session(tmp_path, own="/x", delegated=False))
    assert (host.service, host.session, host.granted) == ("", True, ())


def test_version_1_and_hybrid_are_told_by_the_root(tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "unified").mkdir()
    assert detect.host(root=str(tmp_path)).version == 1
    assert detect.host(root=str(tmp_path / "unified")).version == 0


def test_inside_of_a_cgroup_namespace_the_root_says_nothing_of_the_kernel(tmp_path):
    root = trees.cgroup(tmp_path / "cgroup", controllers="pids")
    (root / "cgroup.type").write_text("domain\n")
    host = detect.host(root=str(root), proc=str(trees.proc(tmp_path / "proc", "/")), run="/nowhere", environ={})
    assert host.offered == detect.CONTROLLERS
    assert (host.own, host.top) == ("/", "/")


def test_own_cgroup_outside_of_the_namespace_or_removed_is_unusable(tmp_path):
    for line in ("0::/../other", "0::/gone (deleted)", "1:name=systemd:/"):
        (tmp_path / "cgroup").write_text(f"{line}\n")
        assert detect.own_cgroup(str(tmp_path / "cgroup")) == ""


def test_buses_are_tried_in_order_and_systemds_own_socket_last(tmp_path):
    arguments = trees.session(tmp_path, own="/x")
    other = tmp_path / "my bus"
    other.write_text("")
    private = tmp_path / "run/user/1000/systemd/private"
    private.parent.mkdir()
    private.write_text("")
    address = f"unix:path={tmp_path}/my%20bus,guid=00;tcp:host=x;unix:path=/nowhere"
    arguments["environ"] = {"DBUS_SESSION_BUS_ADDRESS": address, "XDG_RUNTIME_DIR": f"{tmp_path}/run/user/1000"}
    assert detect.host(**arguments).buses == (str(other), f"{tmp_path}/run/user/1000/bus", str(private))


def test_parents():
    assert [detect.parent_of(path) for path in ("/a/b", "/a", "/", "")] == ["/a", "/", "", ""]
