"""Test values: what to present, or to ask, so that a given answer comes; and what that answer is.

They are data (`values.toml`), in a world whose people and cards really are in the states that the names
promise (`world.toml`): a frozen wallet is frozen. No card, code or amount is special to the gateway.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from simulators.errors import WorldFileInvalid
from simulators.faults.catalogue import DeviceFault
from simulators.networks.gateway_line import LineState
from simulators.world.file import AmountText, ThingName, WorldFile, load_toml, load_world_file
from simulators.world.messages import AnswerKind, CodeForm, HeldState
from wire.messages.base import Message
from wire.messages.till import SaleEventKind
from wire.notices import NOTICES

FOLDER: Final = Path(__file__).parent
WORLD_PATH: Final = FOLDER / "world.toml"
VALUES_PATH: Final = FOLDER / "values.toml"
VALUES_MAX: Final = 300
REPEATS_MAX: Final = 100
CAP_DEFAULT: Final = "500.00"

Template = Annotated[str, msgspec.Meta(max_length=2_048)]
"""Text in which `{sale}`, `{payment}`, `{id:NAME}`, `{wallet:NAME}` are filled in (fillings.py)."""
Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=240)]


class Doing(Message, frozen=True, kw_only=True, tag_field="do"):
    """One thing that is done; the kinds below say what."""


class Sale(Doing, frozen=True, kw_only=True, tag="sale"):
    """The till software starts a sale."""

    amount: AmountText
    order: Template | None = None
    order_amount: AmountText | None = None
    hold: bool = False
    tip_max: AmountText | None = None
    currency: Annotated[str, msgspec.Meta(max_length=3)] | None = None
    deadline_s: Annotated[int, msgspec.Meta(ge=1, le=600)] = 60


class Tap(Doing, frozen=True, kw_only=True, tag="tap"):
    """A card, phone or tag comes to a reader."""

    thing: Template
    tamper_amount: AmountText | None = None
    tear_at_apdu: Annotated[int, msgspec.Meta(ge=1, le=32)] | None = None
    relayed: bool = False
    """It signs for another till."""
    held: HeldState = HeldState.READY
    answer: AnswerKind = AnswerKind.OWN
    gives: SaleEventKind | None = None
    """What must come of it; None where that is the value's own answer."""
    stays: bool = False
    """It is left on the reader until the value is over."""


class Scan(Doing, frozen=True, kw_only=True, tag="scan"):
    """A code comes before the scanner."""

    phone: ThingName | None = None
    form: CodeForm = CodeForm.BASE45
    cap: AmountText = CAP_DEFAULT
    life_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 60
    age_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0
    ahead_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0
    forged: bool = False
    screenshot: bool = False
    """The code that the phone showed last, once more."""
    text: Template | None = None
    gives: SaleEventKind | None = None


class Call(Doing, frozen=True, kw_only=True, tag="call"):
    """The till software calls its daemon."""

    method: Literal["GET", "POST", "DELETE", "PUT"] = "POST"
    path: Template
    body: dict[str, Any] | None = None
    raw: str | None = None
    """Sent as it is, instead of a body."""
    padding: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    """So many blanks behind it."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    with_key: bool = True
    """Whether the till's access key is sent, where it has one."""
    status: int | None = None
    """What must come of it; None where that is the value's own answer."""


class ReadTag(Doing, frozen=True, kw_only=True, tag="read_tag"):
    """The till software waits for a staff tag, and this comes to the reader."""

    thing: ThingName


class Watch(Doing, frozen=True, kw_only=True, tag="watch"):
    """So many screens watch the till's events, until the value is over."""

    count: Annotated[int, msgspec.Meta(ge=1, le=100)]


class Await(Doing, frozen=True, kw_only=True, tag="await"):
    """Something happens to the sale by itself, or after what was done before."""

    event: SaleEventKind


class AwaitPayment(Doing, frozen=True, kw_only=True, tag="await_payment"):
    """The till's list of payments says of this payment what the value promises, in time."""


class Decide(Doing, frozen=True, kw_only=True, tag="decide"):
    """A phone's owner answers what the wallet asks."""

    phone: ThingName
    agreed: bool


class PayCode(Doing, frozen=True, kw_only=True, tag="pay_code"):
    """A phone's owner scans the till's own code and pays."""

    phone: ThingName


class Clone(Doing, frozen=True, kw_only=True, tag="clone"):
    """Somebody copies a card as it is now; the copy is called `{copy}`."""

    thing: ThingName


class Allowance(Doing, frozen=True, kw_only=True, tag="allowance"):
    """A phone sets money aside for payments without a connection."""

    thing: ThingName
    amount: AmountText
    forged: bool = False


class Line(Doing, frozen=True, kw_only=True, tag="line"):
    """The line between tills and gateway."""

    state: LineState


class Disk(Doing, frozen=True, kw_only=True, tag="disk"):
    """The till's disk is full, or has room again."""

    state: Literal["full", "roomy"]


class Fault(Doing, frozen=True, kw_only=True, tag="fault"):
    """A reader, or what lies on it, fails as docs/faults.md says; mended when the value is over."""

    device: ThingName
    fault: DeviceFault
    thing: ThingName | None = None
    other: ThingName | None = None
    at: Annotated[int, msgspec.Meta(ge=1, le=32)] | None = None
    ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None


class AwaitReader(Doing, frozen=True, kw_only=True, tag="await_reader"):
    """A reader of the till says of itself what the value promises; or, `ready`, all of them work."""

    ready: bool = False


class Mode(Doing, frozen=True, kw_only=True, tag="mode"):
    """The till notices that it is offline, or online again."""

    state: Literal["online", "offline"]


class Operator(Doing, frozen=True, kw_only=True, tag="operator"):
    """The gateway's operator does something: words behind `tapscan-gateway`."""

    words: list[Template]


class Repeat(Doing, frozen=True, kw_only=True, tag="repeat"):
    """Do something again and again until a sale comes to this, at most so often."""

    steps: list[Sale | Tap | Scan]
    until: SaleEventKind
    most: Annotated[int, msgspec.Meta(ge=1, le=REPEATS_MAX)]


Step = (
    Sale
    | Tap
    | Scan
    | Call
    | ReadTag
    | Watch
    | Await
    | AwaitPayment
    | Decide
    | PayCode
    | Clone
    | Allowance
    | Line
    | Fault
    | Disk
    | AwaitReader
    | Mode
    | Operator
    | Repeat
)


class Value(Message, frozen=True, kw_only=True):
    """One test value."""

    name: ThingName
    chapter: Annotated[str, msgspec.Meta(max_length=60)] = ""
    """The heading it and those behind it stand under; empty for that of the one before."""
    say: Sentence
    """What is so, and what is done."""
    steps: list[Step]
    code: str = ""
    """Of wire/notices; empty where the answer has none, as an approval."""
    event: SaleEventKind | None = None
    """What the till API tells of the sale, with the code."""
    status: int | None = None
    """What the till API answers to the last call, with the code in the problem or, at 200, in the payment."""
    till: ThingName = "till-1"
    put_back: list[Step] = msgspec.field(default_factory=list)
    """Done afterwards, whatever happened, so that the value can be rehearsed again."""


class Unrehearsed(Message, frozen=True, kw_only=True):
    """Codes that no value gives, and why."""

    codes: list[str]
    why: Annotated[str, msgspec.Meta(min_length=20, max_length=400)]


class TestValues(Message, frozen=True, kw_only=True):
    """All of them."""

    __test__ = False  # a name for pytest to leave alone

    values: list[Value]
    unrehearsed: list[Unrehearsed]

    def find(self, name: str) -> Value | None:
        """Return the value of that name."""
        return next((value for value in self.values if value.name == name), None)


def load_values(
    values_path: Path = VALUES_PATH, world_path: Path = WORLD_PATH
) -> tuple[TestValues, WorldFile]:
    """Read and check the values and the world they live in.

    Raises:
        WorldFileInvalid: a file is not of its form; a value names what is not there or promises nothing; a
            code of wire/notices has neither a value nor a reason why not, or both.
    """
    world = load_world_file(world_path)
    values = load_toml(values_path, TestValues)
    check_values(values, world)
    return values, world


def check_values(values: TestValues, world: WorldFile) -> None:
    """Check values against their world and against the codes there are; raises as `load_values`."""
    if not values.values or not values.values[0].chapter:
        raise WorldFileInvalid("the first value begins a chapter")
    if len(values.values) > VALUES_MAX:
        raise WorldFileInvalid(f"more than {VALUES_MAX} values")
    for name, count in Counter(value.name for value in values.values).items():
        if count > 1:
            raise WorldFileInvalid(f"the value {name} is there {count} times")
    for value in values.values:
        _check_value(value, world)
    complaints = find_uncovered(values)
    if complaints:
        raise WorldFileInvalid("; ".join(complaints))


def find_uncovered(values: TestValues, codes: frozenset[str] = frozenset(NOTICES)) -> list[str]:
    """Return what is wrong between the values and the codes an answer can carry; empty if nothing is.

    Every code has a value that gives it, or a stated reason why none does; never both.
    """
    given = {value.code for value in values.values if value.code}
    excused = Counter(code for reason in values.unrehearsed for code in reason.codes)
    complaints = [
        f"{code}: no value gives it and no reason says why not"
        for code in sorted(codes - given - set(excused))
    ]
    complaints += [
        f"{code}: a value gives it, so no reason is needed" for code in sorted(given & set(excused))
    ]
    complaints += [f"{code}: there is no such code" for code in sorted((given | set(excused)) - codes)]
    return complaints + [f"{code}: excused {count} times" for code, count in excused.items() if count > 1]


def things_of(steps: list[Step]) -> set[str]:
    """Return the names of everything presented in these steps, of copies those they were made from."""
    names: set[str] = set()
    for step in steps:
        match step:
            case Tap(thing=name) | ReadTag(thing=name) | Clone(thing=name) | Allowance(thing=name):
                names.add(name)
            case Decide(phone=name) | PayCode(phone=name) | Scan(phone=str(name)):
                names.add(name)
            case Fault(thing=thing, other=other):
                names |= {name for name in (thing, other) if name is not None}
            case Repeat(steps=inner):
                names |= things_of([*inner])
            case _:
                pass
    return names - {"{copy}"}


def _check_value(value: Value, world: WorldFile) -> None:
    if (value.event is None) == (value.status is None):
        raise WorldFileInvalid(f"{value.name}: promise an event or a status, and not both")
    if value.till not in {till.name for till in world.tills}:
        raise WorldFileInvalid(f"{value.name}: there is no till named {value.till}")
    devices = {step.device for step in value.steps if isinstance(step, Fault)}
    for name in sorted(devices - set(world.device_names)):
        raise WorldFileInvalid(f"{value.name}: there is no device named {name}")
    known = {*(entry.name for entry in world.instruments), *world.plain_names}
    for name in sorted(things_of([*value.steps, *value.put_back]) - known):
        raise WorldFileInvalid(f"{value.name}: there is nothing named {name}")
