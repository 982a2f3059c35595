"""Every output that the protocol spends: its value and its leaves, each in one place."""

from functools import lru_cache

from bitvm_bridge.params import DUST, Council, Params
from bitvm_bridge.protocol.instance import Deposit, Instance, wallet_script
from bitvm_bridge.protocol.template import Connector, Leaf
from bitvm_bridge.taproot import leaf_hash
from scripts_tapleaf import covenant, winternitz
from scripts_tapleaf.script import OP_RETURN, push


def deposit(of: Deposit) -> Connector:
    """The depositor's money until the committee moves it into the vault, or the depositor takes it back."""
    params = of.params
    return Connector(params.peg_in, (_confirm(of), refund(of.request.depositor, params.refund_delay)))


def _confirm(of: Deposit) -> Leaf:
    return Leaf("confirm", covenant.envelope(of.request.receiver) + covenant.signed(of.committee))


def refund(depositor: bytes, delay: int) -> Leaf:
    """How the depositor takes the deposit back."""
    return Leaf("refund", covenant.signed_after(depositor, delay), wait=delay)


def refund_note(of: Deposit) -> bytes:
    """The OP_RETURN from which a depositor that has nothing but its key finds its refund leaf; see `recovery`.

    The delay in 2 bytes, little-endian, and the hash of the other leaf. It costs 45 vB.
    """
    return OP_RETURN + push(of.params.refund_delay.to_bytes(2, "little") + leaf_hash(_confirm(of).script))


def vault(of: Deposit, _: int) -> Connector:
    """The pooled deposit, or a share of it: pre-signed transactions only, and the council where there is one."""
    return _vault(of.committee, of.params.exit_amount, of.params.council)


@lru_cache(maxsize=16)
def _vault(committee: bytes, amount: int, council: Council | None) -> Connector:
    """The same for every exit, and the graph of each of their instances has all of them."""
    leaves = [Leaf("covenant", covenant.signed(committee))]
    if council is not None:
        leaves.append(_council(council))
    return Connector(amount, tuple(leaves))


def claim_amount(params: Params, assertions: int) -> int:
    """sat of the ClaimFunding coin: what KickOff's outputs hold with so many assert connectors, and no fee."""
    return params.bond + DUST * (assertions + 2)


def challenge(instance: Instance) -> Connector:
    """Spent by Challenge, or else by HappyTake: one excludes the other."""
    wait = instance.params.happy_csv
    return Connector(
        DUST,
        (
            Leaf("challenge", covenant.signed(instance.operator)),
            Leaf("happy", covenant.signed_after(instance.deposit.committee, wait), wait=wait),
        ),
    )


def bond(instance: Instance) -> Connector:
    """The operator's guarantee; every ending spends it, so that only one ending can happen."""
    wait = instance.params.forfeit_csv
    return Connector(
        instance.params.bond,
        (
            Leaf("covenant", covenant.signed(instance.deposit.committee)),
            Leaf("forfeit", covenant.signed_after(instance.deposit.committee, wait), wait=wait),
        ),
    )


def assertion(instance: Instance, index: int) -> Connector:
    """Reveals one bundle of the assertion; the operator's signature keeps a copied witness from being moved."""
    wait = instance.params.timeout_csv
    commit = winternitz.check_script(instance.assertion[index]) + covenant.signed(instance.operator)
    return Connector(
        DUST,
        (
            Leaf("commit", commit),
            Leaf("timeout", covenant.signed_after(instance.deposit.committee, wait), wait=wait),
        ),
    )


def disprove(instance: Instance) -> Connector:
    """One leaf for each check of the program, open to anyone who can satisfy it; UnhappyTake needs it unspent."""
    wait = instance.params.unhappy_csv
    unhappy = Leaf("unhappy", covenant.signed_after(instance.deposit.committee, wait), wait=wait)
    return Connector(DUST, (unhappy,), instance.checks)


def sink(instance: Instance) -> bytes:
    """Where a burn share goes: the council's output, or an output that nobody can spend."""
    if (council := instance.params.council) is None:
        return OP_RETURN
    return council_share(instance.params, council).script_pubkey


def council_share(params: Params, council: Council) -> Connector:
    """The burn share of a slashed bond where there is a council, which may spend it."""
    return Connector(params.burn, (_council(council),))


def _council(council: Council) -> Leaf:
    script = covenant.council(council.keys, council.threshold, council.delay)
    return Leaf("council", script, wait=council.delay)


def operator_wallet(instance: Instance) -> bytes:
    """The operator's own wallet."""
    return wallet_script(instance.operator)


def instance_marker(instance: Instance) -> bytes:
    """The OP_RETURN by which a PegOut names the instance that it will be claimed from."""
    return OP_RETURN + push(instance.id)
