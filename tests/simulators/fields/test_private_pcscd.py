"""A pcscd of our own: it comes, it is found by its clients, it bothers nobody, it goes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from simulators.fields.private_pcscd import PcscdUnavailable, PrivatePcscd, find_missing

pytestmark = pytest.mark.pcsc

LIST_READERS = """
import smartcard.scard as scard
result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
result, readers = scard.SCardListReaders(context, [])
print("\\n".join(readers))
"""


@pytest.fixture(autouse=True)
def _needs_pcscd() -> None:
    if missing := find_missing():
        pytest.skip("; ".join(missing))
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed")


def _readers(pcscd: PrivatePcscd) -> list[str]:
    # A process of its own each time: libpcsclite keeps the first socket it was told of.
    result = subprocess.run(
        [sys.executable, "-c", LIST_READERS],
        env={**os.environ, **pcscd.environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return result.stdout.split("\n")[:-1]


def test_clients_see_the_readers_by_name() -> None:
    with PrivatePcscd(("Counter", "Kiosk")) as pcscd:
        assert _readers(pcscd) == [slot.reader_name for slot in pcscd.slots]
        assert _readers(pcscd) == ["Counter 00 00", "Counter 00 01", "Kiosk 00 00", "Kiosk 00 01"]


def test_two_run_side_by_side_and_see_their_own_readers() -> None:
    with PrivatePcscd(("One",)) as one, PrivatePcscd(("Two",), fast_poll=False) as two:
        assert _readers(one) == ["One 00 00", "One 00 01"]
        assert _readers(two) == ["Two 00 00", "Two 00 01"]


def test_restart_keeps_socket_names_and_ports() -> None:
    with PrivatePcscd() as pcscd:
        before = (pcscd.slots, pcscd.environment)
        pcscd.restart()
        assert (pcscd.slots, pcscd.environment) == before
        assert _readers(pcscd)


def test_stopped_it_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    pcscd = PrivatePcscd(socket_folder=tmp_path)
    pcscd.start()
    pid = int((tmp_path / "pcscd.pid").read_text().rstrip("\n\0"))
    pcscd.stop()
    pcscd.stop()

    assert not Path(f"/proc/{pid}").exists()
    assert not list(tmp_path.iterdir())


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from simulators.fields.private_pcscd import PrivatePcscd
        pcscd = PrivatePcscd(socket_folder=Path({str(tmp_path)!r}), fast_poll=False)
        pcscd.start()
        print(pcscd._keeper.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        keeper = int(process.stdout.readline())
        # The keeper holds our pipe's other end open until it has seen pcscd off.
        process.stdout.read()
        process.wait(timeout=10)
    _await_gone(keeper)


@pytest.mark.parametrize("names", [(), ("Same", "Same"), tuple(f"R{index}" for index in range(9))])
def test_reader_names_it_cannot_serve_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="readers"):
        PrivatePcscd(names)


def test_socket_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too long"):
        PrivatePcscd(socket_folder=tmp_path / ("x" * 120))


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.fields.private_pcscd.DRIVER_PATHS", ("/nowhere/libifdvpcd.so",))
    assert any("vsmartcard-vpcd" in reason for reason in find_missing())
    pcscd = PrivatePcscd()
    with pytest.raises(PcscdUnavailable, match="vsmartcard-vpcd"):
        pcscd.start()
    pcscd.stop()


def _await_gone(pid: int) -> None:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        subprocess.run(["sleep", "0.02"], check=True)
    raise AssertionError("pcscd outlived the process that started it")
