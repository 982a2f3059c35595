"""The layers: imports point down only."""

import ast
from pathlib import Path

import pytest

from tests.vectors import ROOT

SCRIPTS = {"scripts_tapleaf"}
PROTOCOL = {"bitvm_bridge.protocol", "bitvm_bridge.params", "bitvm_bridge.secp", "bitvm_bridge.taproot"}
FOUNDATION = {"bitvm_bridge.errors", "bitvm_bridge.transaction"}
ALLOWED = {
    "scripts_tapleaf": SCRIPTS,
    "bitvm_bridge/errors.py": set(),
    "bitvm_bridge/transaction.py": {"bitvm_bridge.errors"} | SCRIPTS,
    "bitvm_bridge/secp.py": {"bitvm_bridge.errors"},
    "bitvm_bridge/taproot.py": {"bitvm_bridge.secp"} | FOUNDATION | SCRIPTS,
    "bitvm_bridge/segwit.py": FOUNDATION | SCRIPTS,
    "bitvm_bridge/params.py": {"bitvm_bridge.secp"} | FOUNDATION | SCRIPTS,
    "bitvm_bridge/protocol": PROTOCOL | FOUNDATION | SCRIPTS,
    "bitvm_bridge/program": {"bitvm_bridge.program"} | FOUNDATION | SCRIPTS,
}
"""Place → every first-party module that it may import; a place that is not listed is free of this rule."""
UPPER = {
    "bitvm_bridge.actions",
    "bitvm_bridge.batch",
    "bitvm_bridge.bump",
    "bitvm_bridge.chain",
    "bitvm_bridge.dashboard",
    "bitvm_bridge.external",
    "bitvm_bridge.fees",
    "bitvm_bridge.keyring",
    "bitvm_bridge.pending",
    "bitvm_bridge.rebroadcast",
    "bitvm_bridge.records",
    "bitvm_bridge.recovery",
    "bitvm_bridge.roles",
    "bitvm_bridge.service",
    "bitvm_bridge.sources",
    "bitvm_bridge.status",
    "bitvm_bridge.store",
    "bitvm_bridge.unsigned",
    "bitvm_bridge.wallet",
    "bitvm_bridge.watch",
}
MAY_SEE_UPPER = (
    "bitvm_bridge/chain",
    "bitvm_bridge/dashboard",
    "bitvm_bridge/dispute",
    "bitvm_bridge/dlc/classic",
    "bitvm_bridge/dlc/contract",
    "bitvm_bridge/exchange",
    "bitvm_bridge/roles",
    "bitvm_bridge/service",
    "bitvm_bridge/sources",
    "bitvm_bridge/watch",
    "cli",
)
MAY_SEE_UPPER_FILES = {
    "bitvm_bridge/actions.py",
    "bitvm_bridge/batch.py",
    "bitvm_bridge/bump.py",
    "bitvm_bridge/dlc/notary.py",
    "bitvm_bridge/pending.py",
    "bitvm_bridge/rebroadcast.py",
    "bitvm_bridge/external.py",
    "bitvm_bridge/fees.py",
    "bitvm_bridge/keyring.py",
    "bitvm_bridge/records.py",
    "bitvm_bridge/recovery.py",
    "bitvm_bridge/status.py",
    "bitvm_bridge/store.py",
    "bitvm_bridge/unsigned.py",
    "bitvm_bridge/wallet.py",
}
FILES = sorted(path for top in ("scripts_tapleaf", "bitvm_bridge", "cli") for path in (ROOT / top).rglob("*.py"))


def first_party_imports(path: Path) -> set[str]:
    """Modules of this project that a file imports, names imported from a package included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if (ROOT / node.module.replace(".", "/")).is_dir():
                modules = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name for name in modules if (ROOT / (name.replace(".", "/") + ".py")).is_file()}
                found |= {name for name in modules if (ROOT / name.replace(".", "/")).is_dir()}
    return {name for name in found if name.split(".")[0] in ("scripts_tapleaf", "bitvm_bridge", "cli")}


def within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    imports = first_party_imports(path)
    for place, allowed in ALLOWED.items():
        if name == place or name.startswith(place + "/"):
            outside = {module for module in imports - {"bitvm_bridge"} if not within(module, allowed)}
            assert not outside, f"{name} imports {outside}"
    if not name.startswith(MAY_SEE_UPPER) and name not in MAY_SEE_UPPER_FILES:
        upper = {module for module in imports if within(module, UPPER)}
        assert not upper, f"{name} imports {upper}"
    if not name.startswith("cli"):
        assert not {module for module in imports if within(module, {"cli"})}


def test_the_rule_sees_imports() -> None:
    assert "bitvm_bridge.secp" in first_party_imports(ROOT / "bitvm_bridge" / "taproot.py")
    assert "scripts_tapleaf.script" in first_party_imports(ROOT / "bitvm_bridge" / "transaction.py")
