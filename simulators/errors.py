"""What can be wrong with a simulated world, told to the developer who runs it.

SimulatorError
├── WorldFileInvalid     the TOML file is not a world; the text names the key
├── NoSuchThing          a name that this world does not hold
├── DeviceOff            the device could not be had on this machine; the text says why
├── FaultImpossible      this device can't have that fault, or the order lacks something
├── GatewaySilent        a phone asked the gateway for a numeric code and got none
└── ProcessFailed        a process of the demo did not start, or died
"""

from __future__ import annotations


class SimulatorError(Exception):
    """Base; `code` is stable, the text is for the developer and holds no key and no token."""

    code = "simulator_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)


class WorldFileInvalid(SimulatorError):
    """The file is not a world or a scenario; the text names the key."""

    code = "world_file_invalid"


class NoSuchThing(SimulatorError):
    """This world holds nothing of that name and kind."""

    code = "not_found"


class DeviceOff(SimulatorError):
    """The device could not be had on this machine."""

    code = "device_off"


class FaultImpossible(SimulatorError):
    """The device can't have that fault, or the order lacks something; the text says what."""

    code = "fault_impossible"


class GatewaySilent(SimulatorError):
    """The gateway gave the phone no numeric code."""

    code = "gateway_unreachable"


class ProcessFailed(SimulatorError):
    """A process did not start in its time, or ended before it was asked to."""

    code = "process_failed"
