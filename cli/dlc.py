"""`bitvm-bridge dlc`: discreet log contracts."""

import click

from bitvm_bridge.dlc import equivocation as proving
from bitvm_bridge.dlc import oracle_documents
from bitvm_bridge.dlc.equivocation import Proof
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role
from cli import dlc_contract
from cli.app import App, emit, read_file, say, with_app, write_secret
from cli.dlc_classic import classic
from cli.dlc_oracle import oracle
from cli.keys import add_key_commands


@click.group()
def dlc() -> None:
    """Contracts between two parties that settle as an oracle says.

    The oracle has a stake, which it loses where it is silent or proved wrong. Contracts of `dlc classic` have none.

    \b
    bitvm-bridge dlc oracle announce --event-id weather --maturity 2030-01-01 --outcome sun --outcome rain
    bitvm-bridge dlc offer bet.json --dir shared/              the offerer; then the accepter:
    bitvm-bridge dlc accept CONTRACT --dir shared/
    bitvm-bridge dlc oracle stake CONTRACT --dir shared/       the oracle
    bitvm-bridge dlc sign CONTRACT --dir shared/               all three at the same time; the oracle with --as oracle
    bitvm-bridge dlc oracle sign CONTRACT --broadcast          what happened, on the chain
    bitvm-bridge dlc oracle attest event.json sun --out attestation.json
    bitvm-bridge dlc settle CONTRACT attestation.json --broadcast
    """


@dlc.group()
def party() -> None:
    """Keys of a party of contracts, and its coins.

    \b
    bitvm-bridge dlc party keygen
    bitvm-bridge node mine 1 --to party
    """


dlc.add_command(oracle)
dlc.add_command(classic)
for command in dlc_contract.COMMANDS:
    dlc.add_command(command)
for command in dlc_contract.ORACLE_COMMANDS:
    oracle.add_command(command)
add_key_commands(party, Role.PARTY)


@dlc.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="Write the oracle's secret key (hex) to a new file that only you can read.")
@with_app
def equivocation(app: App, files: tuple[str, ...], out: str | None) -> None:
    """Prove that an oracle signed two outcomes.

    FILES are two attestations of one oracle under one nonce, or a proof that this command has printed before. Anyone
    can check the proof, and take the oracle's secret key out of it; the key is written to a file alone.

    \b
    bitvm-bridge dlc equivocation first.json second.json > proof.json
    bitvm-bridge dlc equivocation proof.json
    """
    proof = _proof(files)
    proof.verify()
    if out is not None:
        write_secret(out, proof.extract().reveal().hex().encode() + b"\n")
        say(f"the oracle's secret key is in {out}")
    document = oracle_documents.to_builtins(oracle_documents.proof_file(proof))
    emit(app, document, oracle_documents.shown(document))
    say(f"oracle {proof.key.hex()} signed both {proof.outcomes[0]!r} and {proof.outcomes[1]!r} under one nonce")


def _proof(files: tuple[str, ...]) -> Proof:
    if len(files) == 1:
        return oracle_documents.read_proof(read_file(files[0], "proof of equivocation"))
    if len(files) != 2:
        raise BadInput("attestations", len(files), "two of them, or one proof")
    (first, hashing), (second, other) = (
        oracle_documents.read_attestation(read_file(path, "attestation")) for path in files
    )
    if other is not hashing:
        raise BadInput("hashing", f"{hashing.value} and {other.value}", "the same in both attestations")
    return proving.prove(first, second, hashing)
