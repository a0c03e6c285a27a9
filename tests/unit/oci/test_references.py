import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import InvalidArgument, Unsupported
from rootless.oci import references
from rootless.oci.references import Reference, parse

HEX = "a" * 64
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"),
        ("library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/library/nginx:a", "docker.io/library/nginx:a", "nginx:a"),
        ("grafana/loki", "docker.io/grafana/loki:latest", "grafana/loki:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"),
        ("ghcr.io/a/b/c:t", "ghcr.io/a/b/c:t", "ghcr.io/a/b/c:t"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("[fe80::1]/x", "[fe80::1]/x:latest", "[fe80::1]/x:latest"),
        ("Host/x", "Host/x:latest", "Host/x:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}", f"nginx:1@{DIGEST}"),
        ("a__b--c.d_e", "docker.io/library/a__b--c.d_e:latest", "a__b--c.d_e:latest"),
        ("foo---bar:_t.-", "docker.io/library/foo---bar:_t.-", "foo---bar:_t.-"),
        ("123:80", "docker.io/library/123:80", "123:80"),
        ("a" * 63, f"docker.io/library/{'a' * 63}:latest", f"{'a' * 63}:latest"),
    ],
)
def test_reads_names_as_docker_does(text, canonical, familiar):
    reference = parse(text)
    assert str(reference) == canonical
    assert reference.familiar() == familiar
    assert parse(canonical) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "/",
        "nginx:",
        "nginx@",
        ":tag",
        "nginx:-x",
        "nginx:" + "t" * 129,
        "a//b",
        "/a",
        "a/",
        "a..b",
        "a___b",
        "a._b",
        "-a",
        "a-",
        "_a",
        "a b",
        "a\nb",
        "a/../b",
        "https://docker.io/nginx",
        "docker.io/",
        "docker.io:/x",
        "-x.y/z",
        "x.-y/z",
        "x..y/z",
        "[::1/x",
        "[::1]x/y",
        "[xyz]/y",
        "ünicode",
        "nginx@sha256:abc",
        f"nginx@sha256:{'A' * 64}",
        f"nginx@{DIGEST}@{DIGEST}",
        f"nginx@md5:{'a' * 32}",
        "nginx@../../etc",
    ],
)
def test_refuses_what_docker_refuses(text):
    with pytest.raises(InvalidArgument, match=r"^invalid reference format"):
        parse(text)


def test_says_that_a_repository_must_be_lowercase():
    with pytest.raises(InvalidArgument, match=r"repository name \(library/Nginx\) must be lowercase"):
        parse("Nginx")
    with pytest.raises(InvalidArgument, match=r"repository name \(A/b\) must be lowercase"):
        parse("localhost/A/b")


def test_refuses_a_name_that_looks_like_an_image_id():
    with pytest.raises(InvalidArgument, match="cannot specify 64-byte hexadecimal strings"):
        parse(HEX)


def test_refuses_names_of_more_than_255_characters():
    with pytest.raises(InvalidArgument, match="must not be more than 255 characters"):
        parse("/".join(["a" * 100] * 3))


def test_other_digest_algorithms_are_unsupported():
    with pytest.raises(Unsupported, match="sha512"):
        parse(f"nginx@sha512:{'a' * 128}")


def test_default_tag_is_optional():
    assert parse("nginx", default_tag=False) == Reference(registry="docker.io", repository="library/nginx")
    assert parse(f"nginx@{DIGEST}").tag == ""


component = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
hosts = st.sampled_from(
    ["docker.io", "localhost", "localhost:5000", "ghcr.io", "10.0.0.1:80", "[::1]:5000", "[fe80::2]"]
)
tags = st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True))


@given(host=hosts, path=st.lists(component, min_size=1, max_size=3), tag=tags, digest=st.sampled_from(["", DIGEST]))
def test_canonical_and_familiar_forms_read_back(host, path, tag, digest):
    repository = "/".join(path)
    if len(repository) > 200 or (host == "docker.io" and (len(path) == 1 or path[0] == "localhost" or "." in path[0])):
        return
    reference = Reference(registry=host, repository=repository, tag=tag, digest=digest)
    assert parse(str(reference), default_tag=False) == reference
    assert parse(reference.familiar(), default_tag=False) == reference


@given(st.text(alphabet="aA0./:@-_[] \n", max_size=30))
def test_whatever_is_accepted_reads_back_the_same(text):
    try:
        reference = parse(text)
    except (InvalidArgument, Unsupported):
        return
    assert parse(str(reference)) == reference
    assert ".." not in reference.repository.split("/")
    assert references.is_tag(reference.tag) or reference.digest
