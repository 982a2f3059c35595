"""The dlcspecs vector files, and their transactions as ours."""

import json
from typing import Any

from bitvm_bridge.dlc.classic.transactions import FundingInput, Party, Terms
from bitvm_bridge.keys import parse_address
from bitvm_bridge.params import Network
from bitvm_bridge.secp import public_key
from tests.vectors import vectors_dir


def load(name: str) -> Any:
    """One file of the suite."""
    return json.loads((vectors_dir() / "dlcspecs" / name).read_text())


def party(params: dict[str, Any], first: int) -> Party:
    """A party of `dlc_tx_test.json`; these have no serial ids, so what comes first gets the lowest."""
    inputs = tuple(
        FundingInput(
            first + place,
            bytes.fromhex(coin["tx"]),
            coin["idx"],
            0xFFFFFFFF,
            coin["maxWitnessLen"],
            bytes.fromhex(coin.get("redeemScript", "")),
        )
        for place, coin in enumerate(params["fundingInputTxs"])
    )
    return Party(
        public_key(bytes.fromhex(params["fundingPrivKey"])),
        parse_address(params["payoutAddress"], Network.REGTEST),
        first,
        params["collateral"],
        inputs,
        parse_address(params["changeAddress"], Network.REGTEST),
        first,
    )


def terms(case: dict[str, Any]) -> Terms:
    """The terms of a case of `dlc_tx_test.json`: funding output, offerer, accepter."""
    inputs, params = case["inputs"], case["inputs"]["params"]
    return Terms(
        party(inputs["offerParams"], 1_000),
        party(inputs["acceptParams"], 2_000),
        params["feeRate"],
        0,
        params["contractMaturityBound"],
        params["contractTimeout"],
    )


CONTRACTS = (
    "enum_single_oracle_test.json",
    "enum_3_of_3_test.json",
    "single_oracle_numerical_test.json",
    "three_of_three_oracle_numerical_test.json",
    "enum_and_numerical_5_of_5_test.json",
)
"""Whole contracts: offer, accept and sign."""
