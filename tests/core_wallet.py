"""A descriptor wallet of Bitcoin Core that holds keys of the bridge: what a person's own wallet would do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from embit import bip32
from embit.descriptor.checksum import add_checksum
from embit.networks import NETWORKS

from bitvm_bridge.chain import rpc
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.params import Network

ACCOUNT: Final = "m/86h/1h/0h"
MASTER: Final = bip32.HDKey.from_seed(b"\x05" * 32, version=NETWORKS["regtest"]["xprv"])
ORIGIN: Final = f"[{MASTER.my_fingerprint.hex()}/86h/1h/0h]"
XPRV: Final = MASTER.derive(ACCOUNT)
DESCRIPTOR: Final = add_checksum(f"tr({ORIGIN}{XPRV.to_public().to_base58()}/0/*)")
"""What its owner shows to others."""


class CoreWallet:
    """A wallet with the private half of DESCRIPTOR, or of its child with another account key."""

    def __init__(self, launched: LaunchedBitcoind, name: str, private: str) -> None:
        self.rpc = rpc.from_options(Network.REGTEST, rpcport=launched.port, datadir=launched.datadir, rpcwallet=name)
        self.rpc.call("createwallet", name, False, True)
        request = {"desc": add_checksum(private), "timestamp": "now"}
        if private.endswith("/*)"):
            request |= {"active": True, "range": [0, 20]}
        (done,) = self.rpc.call("importdescriptors", [request])
        assert done["success"], done

    def sign(self, psbt: str, sighash: str = "DEFAULT", finalize: bool = True) -> tuple[str, bool]:
        """The PSBT as the wallet gives it back, and whether it says that nothing is missing."""
        answer = self.rpc.call("walletprocesspsbt", psbt.strip(), True, sighash, True, finalize)
        return str(answer["psbt"]), bool(answer["complete"])

    def close(self) -> None:
        """Close the connection."""
        self.rpc.close()


@contextmanager
def core_wallet(launched: LaunchedBitcoind, name: str, private: str | None = None) -> Iterator[CoreWallet]:
    """A new wallet on a node that was started with wallets."""
    wallet = CoreWallet(launched, name, private or f"tr({ORIGIN}{XPRV.to_base58()}/0/*)")
    try:
        yield wallet
    finally:
        wallet.close()


@contextmanager
def node_with_wallets(bitcoind: Path, datadir: Path) -> Iterator[LaunchedBitcoind]:
    """A node for one module of tests."""
    with LaunchedBitcoind(bitcoind, datadir, "-disablewallet=0") as launched:
        yield launched
