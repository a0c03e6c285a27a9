"""Moments and durations in Docker's notation."""

from __future__ import annotations

import datetime
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine import times
from rootless.errors import InvalidArgument

SECOND = 10**9


@given(st.integers(min_value=0, max_value=10**10))
def test_text_and_moment_are_inverse(seconds: int) -> None:
    moment = seconds * SECOND + 123_456_789
    assert times.from_text(times.to_text(moment)) == moment


@given(st.datetimes(min_value=datetime.datetime(1970, 1, 2), timezones=st.just(datetime.UTC)))
def test_moments_agree_with_datetime(moment: datetime.datetime) -> None:
    expected = (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)
    assert times.from_text(moment.isoformat()) == expected * 1000


def test_offsets_and_never() -> None:
    assert times.from_text("1970-01-01T02:00:00.5+01:30") == 1800 * SECOND + SECOND // 2
    assert times.from_text("1970-01-01T00:00:00-00:01") == 60 * SECOND
    for text in (times.NEVER, "", "yesterday", "2020-13-01T00:00:00Z", "1970-01-01T00:00:00.xZ"):
        assert times.from_text(text) == 0


def test_moments_of_since_and_until(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-1")
    time.tzset()
    try:
        now = 10**6 * SECOND
        assert times.parse_moment("1h30m", now=now) == now - 5400 * SECOND
        assert times.parse_moment("1767225600") == 1767225600 * SECOND
        assert times.parse_moment("5.25") == 5 * SECOND + SECOND // 4
        assert times.parse_moment("1970-01-02") == 23 * 3600 * SECOND
        assert times.parse_moment("1970-01-02T00:30") == (23 * 3600 + 1800) * SECOND
        assert times.parse_moment("1970-01-01T00:00:01Z") == SECOND
        assert times.display(0) == "1970-01-01 01:00:00 +0100 UTC"
    finally:
        monkeypatch.undo()
        time.tzset()
    for text in ("soon", "", "-5m", "2020-01", "1970-01-01T00:00:00:00"):
        with pytest.raises(InvalidArgument, match="invalid time"):
            times.parse_moment(text)


def test_durations() -> None:
    assert times.parse_duration("1.5s") == 1_500_000_000
    assert times.parse_duration("1h2m3s4ms") == 3723_004_000_000
    for text in ("", "5", "s", "5x", ".s", "1..5s"):
        with pytest.raises(InvalidArgument, match="invalid duration"):
            times.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_human_durations_are_dockers(seconds: int, text: str) -> None:
    assert times.human_duration(seconds * SECOND) == text
