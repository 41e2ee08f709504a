"""Which driver a device path leads to, and which paths lead nowhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

from terminal.devices.paths import make_device
from terminal.errors import ConfigurationError
from terminal.readers.contactless import ContactlessReader
from terminal.readers.pcsc import PcscReader
from terminal.scanners.camera import CameraScanner
from terminal.scanners.serial_scanner import SerialScanner


@pytest.mark.parametrize(
    ("path", "driver"),
    [
        ("pcsc:ACS ACR122U PICC Interface 00 00", PcscReader),
        ("contactless:usb", ContactlessReader),
        ("contactless:tty:USB0:pn532", ContactlessReader),
        ("contactless:tty:/dev/pts/3:pn532", ContactlessReader),
        ("contactless:udp:127.0.0.1:9901", ContactlessReader),
        ("camera:0", CameraScanner),
        ("camera:http://127.0.0.1:8080/stream.mjpg", CameraScanner),
        ("serial:/dev/ttyACM0", SerialScanner),
        ("serial:/dev/pts/5?baud=115200", SerialScanner),
    ],
)
def test_path_leads_to_its_driver_which_keeps_the_name(path: str, driver: type) -> None:
    device = make_device(path)
    assert isinstance(device, driver)
    assert device.path == path.partition("?")[0]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "pcsc",
        "pcsc:",
        "contactless:",
        "nfc:usb",
        "PCSC:Reader",
        "contactless:tty:/dev/ttyS0:no_such_driver",
        "serial:/dev/ttyACM0?baud=fast",
        "serial:/dev/ttyACM0?baud=1",
        "serial:/dev/ttyACM0?baud=9600&baud=19200",
        "serial:/dev/ttyACM0?parity=odd",
    ],
)
def test_path_that_names_no_device_is_a_configuration_error(path: str) -> None:
    with pytest.raises(ConfigurationError):
        make_device(path)


def test_libraries_are_loaded_only_by_the_drivers_that_need_them() -> None:
    script = (
        "import sys; from terminal.devices.paths import make_device;"
        "make_device('pcsc:Reader'); make_device('contactless:usb');"
        "print([name for name in ('nfc', 'smartcard', 'cv2') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
