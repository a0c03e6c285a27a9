"""The same checks over every storage driver, as an ordinary user with real namespaces."""

from __future__ import annotations

import os

import pytest

from rootless.errors import NotFound
from rootless.oci import digests
from rootless.storage import gc
from rootless.storage.layers import Unpacker
from rootless.storage.snapshots import DRIVERS, choose
from tests.support.layers import MTIME, Archive, Store, clear, make_userspace

pytestmark = pytest.mark.skipif(os.geteuid() == 0, reason="runs as an ordinary user")


@pytest.fixture(scope="module")
def userns(tmp_path_factory):
    return make_userspace(tmp_path_factory.mktemp("run"))


@pytest.fixture(params=DRIVERS)
def store(request, tmp_path, userns):
    if request.param == "fuse-overlayfs" and not os.access("/dev/fuse", os.W_OK):
        pytest.skip("/dev/fuse is not usable")
    yield Store(tmp_path / "store", userns, request.param)
    clear(userns, tmp_path / "store")


def base():
    return (
        Archive()
        .dir("./")
        .dir("etc")
        .file("etc/passwd", b"root", mode=0o600)
        .file("etc/shadow", b"secret", gid=42, mode=0o640)
        .dir("tmp", mode=0o1777)
        .dir("home/u", uid=1000, gid=1000, mode=0o700)
        .file("bin/su", b"x", mode=0o4755)
        .symlink("lib", "usr/lib")
        .dir("usr/lib")
        .file("usr/lib/a", b"a")
        .link("usr/lib/b", "usr/lib/a")
    )


def write(root, path, text):
    with open(f"{root}/{path}", "w") as stream:
        stream.write(text)


def change(root):
    write(root, "etc/passwd", "changed")
    os.unlink(f"{root}/etc/shadow")
    os.mkdir(f"{root}/new")
    os.chown(f"{root}/new", 1000, 1000)


def nothing(root):
    pass


def test_one_layer_shows_as_it_was_archived(store):
    tree = store.tree(store.build(base()))
    assert tree["etc/passwd"]["data"] == b"root"
    assert (tree["etc/passwd"]["mode"], tree["etc/passwd"]["mtime"]) == (0o600, MTIME)
    assert (tree["etc/shadow"]["gid"], tree["etc/shadow"]["mode"]) == (42, 0o640)
    assert (tree["home/u"]["uid"], tree["home/u"]["gid"], tree["home/u"]["mode"]) == (1000, 1000, 0o700)
    assert tree["tmp"]["mode"] == 0o1777
    assert tree["bin/su"]["mode"] == 0o4755
    assert (tree["lib"]["type"], tree["lib"]["link"]) == ("l", "usr/lib")
    assert tree["usr/lib/b"]["data"] == b"a"
    assert tree["usr/lib"]["mtime"] == MTIME
    assert store.last.size == len("rootsecretxa")


def test_upper_layers_replace_remove_and_hide(store):
    second = (
        Archive()
        .file("etc/.wh.shadow")
        .file("etc/passwd", b"two")
        .file("usr/lib/.wh..wh..opq")
        .file("usr/lib/c", b"c")
        .file(".wh.tmp")
    )
    tree = store.tree(store.build(base(), second))
    assert "etc/shadow" not in tree
    assert tree["etc/passwd"]["data"] == b"two"
    assert sorted(path for path in tree if path.startswith("usr/lib/")) == ["usr/lib/c"]
    assert "tmp" not in tree
    assert not any(".wh." in path for path in tree)


def test_removed_and_made_again_in_a_third_layer(store):
    tree = store.tree(
        store.build(
            base(),
            Archive().file(".wh.usr").file("home/.wh.u"),
            Archive().dir("usr").file("usr/new", b"n").file("home/u", b"now a file"),
        )
    )
    assert sorted(path for path in tree if path.startswith("usr")) == ["usr", "usr/new"]
    assert tree["home/u"]["data"] == b"now a file"


def test_file_replaced_by_directory_and_back(store):
    first = Archive().file("a", b"file").dir("b").file("b/x", b"x")
    second = Archive().dir("a").file("a/y", b"y").file("b", b"file")
    third = Archive().file("a", b"again").dir("b").file("b/z", b"z")
    chains = store.build(first, second, third)
    tree = store.tree(chains[:2], "two")
    assert tree["a/y"]["data"] == b"y"
    assert tree["b"]["data"] == b"file"
    tree = store.tree(chains, "three")
    assert tree["a"]["data"] == b"again"
    assert sorted(path for path in tree if path.startswith("b")) == ["b", "b/z"]


def test_implied_directories_keep_the_attributes_they_have_below(store):
    tree = store.tree(store.build(base(), Archive().file("tmp/x", b"x").file("home/u/y", b"y")))
    assert tree["tmp"]["mode"] == 0o1777
    assert (tree["home/u"]["uid"], tree["home/u"]["mode"]) == (1000, 0o700)


def test_attributes_of_the_root_directory_show(store):
    tree = store.tree(store.build(Archive().dir("./", mode=0o711, uid=7, gid=8), Archive().file("x")))
    assert (tree[""]["mode"], tree[""]["uid"], tree[""]["gid"]) == (0o711, 7, 8)


def test_root_directory_is_0755_if_no_archive_says_otherwise(store):
    assert store.tree(store.build(Archive().file("x")))[""]["mode"] == 0o755


def test_image_without_layers_is_an_empty_root(store):
    assert list(store.tree([])) == [""]


def test_writes_of_a_container_stay_its_own(store):
    chains = store.build(base())
    tree = store.tree(chains, "one", change)
    assert tree["etc/passwd"]["data"] == b"changed"
    other = store.tree(chains, "two")
    assert other["etc/passwd"]["data"] == b"root"
    assert "etc/shadow" in other
    assert "new" not in other


def test_writes_survive_a_restart(store):
    chains = store.build(base())
    store.tree(chains, "one", change)
    tree = store.tree(chains, "one")
    assert tree["etc/passwd"]["data"] == b"changed"
    assert "etc/shadow" not in tree
    assert tree["new"]["uid"] == 1000


def test_volatile_container_can_be_started_again(store):
    chains = store.build(base())
    store.tree(chains, "one", change, volatile=True)
    assert store.tree(chains, "one", volatile=True)["etc/passwd"]["data"] == b"changed"
    assert store.tree(chains, "one")["etc/passwd"]["data"] == b"changed"


def test_commit_of_a_layer_that_exists_drops_the_stage(store):
    [chain] = store.build(base())
    stage = store.driver.stage("", store.userns)
    store.driver.commit(stage, chain, {"size": 1})
    assert store.driver.info(chain)["size"] != 1
    gc.tidy(store.layout, store.userns)
    assert store.leftovers() == []


def test_has_list_remove(store):
    chains = store.build(base(), Archive().file("x", b"12"))
    assert sorted(store.driver.list()) == sorted(chains)
    assert store.driver.usage(chains[1]) == 2
    store.driver.remove(chains[1])
    assert not store.driver.has(chains[1])
    assert store.driver.has(chains[0])
    with pytest.raises(NotFound):
        store.driver.usage(chains[1])
    with pytest.raises(NotFound):
        store.driver.prepare_rw(f"{store.layout.containers}/c", chains)
    store.driver.remove(chains[1])


def test_trash_with_files_of_subordinate_ids_can_be_emptied(store):
    [chain] = store.build(Archive().dir("d", uid=5, mode=0o000).file("d/f", uid=5, mode=0o000))
    store.driver.remove(chain)
    gc.empty_trash(store.layout, None)
    gc.empty_trash(store.layout, store.userns)
    assert store.leftovers() == []


def test_many_layers_fit(store):
    count = 20 if store.driver.name == "vfs" else 130  # vfs copies the parent for each
    chains = store.build(*(Archive().file(f"f{number}") for number in range(count)))
    assert sum(name.startswith("f") for name in store.tree(chains)) == count


def test_data_root_with_comma_colon_and_blank(store, tmp_path):
    # fuse-overlayfs splits at colons after making paths absolute; its probe notices.
    name = "a,b c d" if store.driver.name == "fuse-overlayfs" else "a,b:c d\\e"
    awkward = Store(tmp_path / "store" / name, store.userns, store.driver.name)
    tree = awkward.tree(awkward.build(base()), "one", change)
    assert tree["etc/passwd"]["data"] == b"changed"


def test_layers_are_extracted_once(store):
    layers = [base().bytes(), Archive().file("x").bytes()]
    store.build(*layers)
    assert store.last.extracted == 2
    store.build(*layers)
    assert store.last.extracted == 0


def test_interrupted_extraction_leaves_nothing_that_stays(store):
    contents = [base().bytes(), Archive().file("x").bytes()]
    diff_ids = [digests.sha256_bytes(content) for content in contents]

    def interrupted():
        with Unpacker(store.layout, store.blobs, store.driver, store.userns, diff_ids) as unpacker:
            unpacker.add({"digest": store.blobs.put(contents[0])})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not store.driver.list()
    gc.tidy(store.layout, store.userns)
    assert store.leftovers() == []
    assert "x" in store.tree(store.build(*contents))


def test_worker_does_the_same_for_callers_with_threads(store, userns):
    contents = [base().bytes(), Archive().file("etc/.wh.shadow").bytes()]
    diff_ids = [digests.sha256_bytes(content) for content in contents]
    with (
        userns.worker() as worker,
        Unpacker(store.layout, store.blobs, store.driver, worker, diff_ids) as unpacker,
    ):
        for content in contents:
            unpacker.add({"digest": store.blobs.put(content)})
        chains = unpacker.finish().chain_ids
    tree = store.tree(chains)
    assert tree["home/u"]["uid"] == 1000
    assert "etc/shadow" not in tree


def test_two_unpackers_of_one_image_at_once_extract_it_once(store):
    content = base().bytes()
    diff_ids = [digests.sha256_bytes(content)]
    blob = store.blobs.put(content)
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                with Unpacker(store.layout, store.blobs, store.driver, store.userns, diff_ids) as unpacker:
                    unpacker.add({"digest": blob})
                    os._exit(10 + unpacker.finish().extracted)
            finally:
                os._exit(1)
        pids.append(pid)
    assert sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids) == [10, 11]


def test_probe_finds_the_driver_that_works_and_remembers_it(tmp_path, userns):
    store = Store(tmp_path / "store", userns, "vfs")
    chosen = choose(store.layout, "", userns)
    assert chosen.name in DRIVERS

    class Nowhere:
        def call(self, function, *arguments):
            raise AssertionError("probed twice")

    assert choose(store.layout, "", Nowhere()).name == chosen.name
    assert choose(store.layout, "vfs", Nowhere()).name == "vfs"
    assert os.listdir(store.layout.tmp) == []


@pytest.mark.parametrize("name", ["overlay", "fuse-overlayfs"])
def test_named_driver_is_probed(tmp_path, userns, name):
    store = Store(tmp_path / "store", userns, "vfs")
    assert choose(store.layout, name, userns).name == name
