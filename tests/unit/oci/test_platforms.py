import pytest

from rootless.errors import InvalidArgument, NotFound
from rootless.oci import platforms
from rootless.oci.platforms import Platform


def entry(os, architecture, variant="", name=""):
    platform = {"os": os, "architecture": architecture, **({"variant": variant} if variant else {})}
    return {"mediaType": "m", "digest": name or f"{os}/{architecture}/{variant}", "size": 1, "platform": platform}


def chosen(entries, text):
    return platforms.select({"schemaVersion": 2, "manifests": entries}, platforms.parse(text))["digest"]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("Linux/AMD64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("s390x", "linux/s390x"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_reads_platforms(text, canonical):
    assert str(platforms.parse(text)) == canonical


def test_linux_alone_means_this_machine():
    assert platforms.parse("linux") == platforms.host()


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/am d64", "plan9000", "linux/amd64/../x"])
def test_refuses_malformed_platforms(text):
    with pytest.raises(InvalidArgument):
        platforms.parse(text)


def test_select_prefers_the_exact_variant():
    arms = [entry("linux", "arm", "v5"), entry("linux", "arm", "v7"), entry("linux", "arm", "v6")]
    assert chosen(arms, "linux/arm/v6") == "linux/arm/v6"
    assert chosen(arms, "linux/arm") == "linux/arm/v7"


def test_select_falls_back_to_what_the_machine_also_runs():
    assert chosen([entry("linux", "386"), entry("windows", "amd64")], "linux/amd64") == "linux/386/"
    assert chosen([entry("linux", "arm", "v6"), entry("linux", "s390x")], "linux/arm64") == "linux/arm/v6"
    assert chosen([entry("linux", "amd64")], "linux/amd64/v3") == "linux/amd64/"


def test_select_takes_the_first_of_equals():
    same = [entry("linux", "amd64", name="one"), entry("linux", "amd64", name="two")]
    assert chosen(same, "linux/amd64") == "one"


def test_select_ignores_attestations_and_says_what_there_is():
    entries = [entry("unknown", "unknown"), entry("linux", "arm64", "v8"), entry("linux", "s390x")]
    with pytest.raises(NotFound, match="no matching manifest for linux/amd64 in the manifest list entries") as caught:
        chosen(entries, "linux/amd64")
    assert "linux/arm64, linux/s390x" in caught.value.hint


def test_select_takes_an_entry_without_platform_last():
    bare = {"mediaType": "m", "digest": "bare", "size": 1}
    assert chosen([bare, entry("linux", "amd64")], "linux/amd64") == "linux/amd64/"
    assert chosen([bare, entry("linux", "s390x")], "linux/amd64") == "bare"


def test_never_runs_a_higher_variant():
    assert not platforms.satisfies(
        Platform(os="linux", architecture="amd64", variant="v3"), platforms.parse("linux/amd64")
    )
