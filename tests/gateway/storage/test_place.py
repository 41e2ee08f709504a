"""Where a store is kept: told apart, and shown without passwords."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.place import is_database_url, shown_place

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://pay:{SECRET}@db/tapscan", "postgresql://pay@db/tapscan"),
        (f"postgres://pay:{SECRET}@db:5433/tapscan", "postgres://pay@db:5433/tapscan"),
        (f"postgresql://pay:a@{SECRET}@db/tapscan", "postgresql://pay@db/tapscan"),
        (f"postgresql://:{SECRET}@one,two:5433/tapscan", "postgresql://@one,two:5433/tapscan"),
        (f"postgresql:///tapscan?host=db&password={SECRET}", "postgresql:///tapscan?host=db"),
        (f"postgresql://db/t?sslpassword={SECRET}&sslmode=require", "postgresql://db/t?sslmode=require"),
        (f"postgresql://pay:{SECRET}@[::1/tapscan", "postgresql://…"),
        ("postgresql://db/tapscan", "postgresql://db/tapscan"),
        ("/var/lib/tapscan.sqlite3", "/var/lib/tapscan.sqlite3"),
    ],
)
def test_place_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown_place(url) == shown


@given(password=st.text("ab:@/?#%[]&= ", min_size=1, max_size=12), is_escaped=st.booleans())
def test_no_password_is_shown_however_it_is_spelled(password: str, is_escaped: bool) -> None:
    spelled = quote(f"{SECRET}{password}{SECRET}", safe="") if is_escaped else f"{SECRET}{password}{SECRET}"
    assert SECRET not in shown_place(f"postgresql://pay:{spelled}@db/tapscan?password={quote(spelled)}")


@given(st.text(max_size=40))
def test_any_place_can_be_shown(rest: str) -> None:
    assert isinstance(shown_place(f"postgresql://{rest}"), str)
    assert is_database_url(f"postgres://{rest}")


def test_missing_driver_is_a_matter_of_configuration() -> None:
    # A process of its own, in which nobody has the driver.
    program = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "from gateway.audit.sources import open_source\n"
        "from gateway.errors import ConfigurationError\n"
        "try: open_source('postgresql://db/tapscan')\n"
        "except ConfigurationError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "tapscan[postgres]" in result.stdout
