"""A user without a range in /etc/subuid and /etc/subgid."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.nosub


def test_run_names_the_missing_range_and_the_remedy(rl):
    result = rl("run", "--rm", "busybox", "true")
    assert result.status == 125, result
    message = result.stderr.splitlines()[-1]
    assert "/etc/sub" in message
    assert "usermod" in message
    assert rl.containers() == []
