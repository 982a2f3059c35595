"""`bitvm-bridge dlc oracle`: announce events, and attest to their outcomes once."""

import time
from datetime import UTC, datetime
from typing import Any, Final

import click

from bitvm_bridge import keyring
from bitvm_bridge.dlc import notary, oracle_documents
from bitvm_bridge.dlc.oracle import Announcement, DigitEvent, EnumEvent, Event, Hashing
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role, Seed
from cli.app import STDOUT, App, emit, read_file, say, with_app, write_file
from cli.keys import DEFAULT_NAME, name_option

MAX_POINTS_SHOWN: Final = 64


@click.group()
def oracle() -> None:
    """Announce events, and attest to their outcomes.

    An oracle says beforehand under which nonces it will sign. Each signs once: the data directory remembers.

    \b
    bitvm-bridge dlc oracle keygen
    bitvm-bridge dlc oracle announce --event-id btc-usd --maturity 2030-01-01 --digits 20 --unit usd --out price.json
    bitvm-bridge dlc oracle verify price.json
    bitvm-bridge dlc oracle attest price.json 104250 --out attestation.json
    """


@oracle.command()
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="A name for the new oracle.")
@with_app
def keygen(app: App, name: str) -> None:
    """Make an oracle's key.

    It is kept, encrypted, in the data directory.
    """
    seed = Seed.generate(Role.ORACLE)
    with app.store() as store:
        keyring.add_seed(store, name, seed)
    _show_key(app, name, seed)


@oracle.command()
@name_option(Role.ORACLE)
@with_app
def key(app: App, name: str) -> None:
    """Show an oracle's public key."""
    with app.store() as store:
        _show_key(app, name, store.seed(Role.ORACLE, name))


def _show_key(app: App, name: str, seed: Seed) -> None:
    public = seed.oracle_key().xonly.hex()
    emit(app, {"name": name, "oracle": public}, public)
    say(f"oracle {name!r}")


@oracle.command()
@name_option(Role.ORACLE)
@click.option("--event-id", required=True, metavar="TEXT", help="What the event is called.")
@click.option(
    "--maturity", required=True, metavar="TIME", help="Not attested before: epoch seconds, or UTC (ISO 8601)."
)
@click.option("--outcome", "outcomes", multiple=True, metavar="TEXT", help="One that can happen; give each.")
@click.option("--digits", type=int, metavar="N", help="In place of outcomes: a number of so many digits.")
@click.option("--base", type=int, help="With --digits: of which base [2].")
@click.option("--signed", is_flag=True, help="With --digits: it can be negative.")
@click.option("--unit", metavar="TEXT", help="With --digits: what it counts.")
@click.option("--precision", type=int, metavar="N", help="With --digits: the number is times base^N [0].")
@click.option(
    "--hashing",
    type=click.Choice([item.value for item in Hashing]),
    default=Hashing.TAGGED.value,
    show_default=True,
    help="How what is signed is hashed: tagged as dlcspecs says, or plain SHA256.",
)
@click.option("--out", metavar="FILE", help="Where to write the announcement [-].")
@with_app
def announce(app: App, /, name: str, event_id: str, maturity: str, hashing: str, out: str | None, **event: Any) -> None:
    """Announce an event, under fresh nonces.

    The event has --outcome's, or --digits. The announcement is JSON for those who build contracts on it.
    """
    descriptor, moment = _descriptor(**event), _epoch(maturity)
    with app.store() as store:
        announcement = notary.announce(store, name, descriptor, event_id, moment, Hashing(hashing))
    file = oracle_documents.announcement_file(announcement, Hashing(hashing))
    _write(app, file, out)
    say(f"announced {event_id!r}, not attested before {_date(moment)}")


def _descriptor(
    outcomes: tuple[str, ...],
    digits: int | None,
    base: int | None,
    signed: bool,
    unit: str | None,
    precision: int | None,
) -> Event:
    if digits is not None:
        if outcomes:
            raise BadInput("--outcome", ", ".join(outcomes), "used without --digits")
        return DigitEvent(2 if base is None else base, signed, unit or "", precision or 0, digits)
    for option, value in (("--base", base), ("--signed", signed or None), ("--unit", unit), ("--precision", precision)):
        if value is not None:
            raise BadInput(option, value, "used with --digits")
    if not outcomes:
        raise BadInput("--outcome", "none", "given, once for each outcome, or --digits")
    return EnumEvent(outcomes)


@oracle.command()
@click.argument("announcement")
@click.argument("outcome")
@name_option(Role.ORACLE)
@click.option("--out", metavar="FILE", help="Where to write the attestation [-].")
@with_app
def attest(app: App, announcement: str, outcome: str, name: str, out: str | None) -> None:
    """Sign what happened, once.

    The same again is fine, anything else is refused for ever. ANNOUNCEMENT is the file; OUTCOME is one that was
    announced, or a number. A number that the announced digits cannot say is signed as the nearest that they can. For a
    negative number write `-- -5`.
    """
    said, hashing = _read(announcement)
    said.verify(hashing)
    if time.time() < said.maturity:
        raise BridgeError(f"attest: {said.event_id!r} is not to be attested before {_date(said.maturity)}")
    signed = _signed(said, outcome)
    with app.store() as store:
        attestation = notary.attest(store, name, said, signed, hashing)
    _write(app, oracle_documents.attestation_file(attestation, hashing), out)
    say(f"attested to {' '.join(signed)!r}")


def _signed(announcement: Announcement, outcome: str) -> tuple[str, ...]:
    event = announcement.descriptor
    if isinstance(event, EnumEvent):
        return (outcome,)
    digits = outcome.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(1 << 64)):
        raise BadInput("outcome", outcome, "a whole number")
    value = int(outcome)
    nearest = max(event.minimum, min(value, event.maximum))
    if nearest != value:
        say(f"{value} is beyond what {announcement.event_id!r} can say: signed as {nearest}")
    return event.outcomes(value)


@oracle.command()
@click.argument("announcement")
@click.argument("attestation", required=False)
@with_app
def verify(app: App, announcement: str, attestation: str | None) -> None:
    """Check an announcement, or an attestation to it.

    Both are files, and are shown. Nobody is asked and nothing is kept.
    """
    said, hashing = _read(announcement)
    said.verify(hashing)
    document = oracle_documents.to_builtins(oracle_documents.announcement_file(said, hashing))
    lines = _described(said, hashing)
    if isinstance(said.descriptor, EnumEvent) and len(said.descriptor.outcomes) <= MAX_POINTS_SHOWN:
        points = {outcome: said.point([outcome], hashing).hex() for outcome in said.descriptor.outcomes}
        document["points"] = points
        lines += [f"point of {outcome!r}: {point}" for outcome, point in points.items()]
    if attestation is not None:
        signed, other = oracle_documents.read_attestation(read_file(attestation, "attestation"))
        signed.verify(said, other)
        document["attested"] = list(signed.outcomes)
        lines.append(f"attested: {' '.join(signed.outcomes)}")
    emit(app, document, "\n".join(lines))


def _described(said: Announcement, hashing: Hashing) -> list[str]:
    event = said.descriptor
    if isinstance(event, EnumEvent):
        what = f"one of {', '.join(event.outcomes)}"
    else:
        what = (
            f"{event.digits} digits of base {event.base}, {event.minimum:,} to {event.maximum:,} {event.unit}".rstrip()
        )
    return [
        f"event {said.event_id!r}: {what}",
        f"oracle {said.key.hex()}, {hashing.value} hashes",
        f"not attested before {_date(said.maturity)}",
    ]


def _read(path: str) -> tuple[Announcement, Hashing]:
    return oracle_documents.read_announcement(read_file(path, "announcement"))


def _write(
    app: App, file: oracle_documents.AnnouncementFile | oracle_documents.AttestationFile, out: str | None
) -> None:
    document = oracle_documents.to_builtins(file)
    text = oracle_documents.shown(document)
    if out in (None, STDOUT):
        emit(app, document, text)
        return
    write_file(str(out), text.encode() + b"\n")
    emit(app, {"file": out}, "")


def _epoch(text: str) -> int:
    try:
        if text.isascii() and text.isdigit():
            return int(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput("--maturity", text, "epoch seconds, or a time in UTC (2030-01-31T12:00)") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _date(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="minutes")
