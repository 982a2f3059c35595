"""Sources as a person names them, in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.sources.evm import ADDRESS_SIZE, TOPIC, WORD, EvmLog
from bitvm_bridge.sources.fetch import Service
from bitvm_bridge.sources.lines import LinesFile
from bitvm_bridge.sources.poll import PolledService
from bitvm_bridge.sources.provers import CommandProver, HttpProver, Log
from bitvm_bridge.sources.request import RequestSource
from bitvm_bridge.watch.proofs import ProofFolder, ProofSource

EVM: Final = "evm+"
EXEC: Final = "exec:"
FILE: Final = "file:"
_WEB: Final = ("http://", "https://")
DEFAULT_DEPTH: Final = "12"
"""confirmations of an event, unless another number is given; what is enough depends on the chain."""
_EVM_OPTIONS: Final = ("contract", "chain", "confirmations", "from", "topic")


def open_requests(text: str) -> RequestSource:
    """`FILE`, `http(s)://…`, or `evm+http(s)://…#contract=0x…&chain=ID[&confirmations=N][&from=BLOCK][&topic=0x…]`.

    Raises BadInput, which shows nothing of a URL beyond its host.
    """
    if text.startswith(EVM):
        return _open_evm(text.removeprefix(EVM))
    if text.startswith(_WEB):
        return PolledService(Service(text))
    return LinesFile(Path(text.removeprefix(FILE)))


def open_proofs(text: str, log: Log, option: str = "--proofs") -> ProofSource:
    """A folder, `exec:COMMAND ARGUMENTS` or `http(s)://…`; `log` takes what a command says.

    Raises BadInput, which names the option that it came by.
    """
    if text.startswith(EXEC):
        return CommandProver.parse(text.removeprefix(EXEC), log)
    if text.startswith(_WEB):
        return HttpProver(Service(text))
    folder = Path(text.removeprefix(FILE))
    if not folder.is_dir():
        raise BadInput(option, text, "a folder, exec:COMMAND or an http URL")
    return ProofFolder(folder)


def _open_evm(text: str) -> EvmLog:
    url, _, options = text.partition("#")
    pairs = parse_qsl(options, keep_blank_values=True)
    values = dict(pairs)
    if len(values) != len(pairs) or not {"contract", "chain"} <= set(values) <= set(_EVM_OPTIONS):
        expected = "contract=…&chain=… and, where wanted, confirmations=…, from=… and topic=…"
        raise BadInput("--source, behind #", options, expected)
    return EvmLog(
        Service(url),
        chain_id=_whole("chain", values),
        contract=from_hex("contract", values["contract"].removeprefix("0x"), ADDRESS_SIZE),
        confirmations=_whole("confirmations", {"confirmations": DEFAULT_DEPTH} | values),
        start=_whole("from", {"from": "0"} | values),
        topic=from_hex("topic", values["topic"].removeprefix("0x"), WORD) if "topic" in values else TOPIC,
    )


def _whole(name: str, values: Mapping[str, str]) -> int:
    text = values[name]
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise BadInput(name, text, "a whole number")
    return int(text)
