"""The transaction graph as a picture, drawn from the declarations."""

from bitvm_bridge.graph import Graph
from bitvm_bridge.protocol import DEPOSIT_TEMPLATES


def draw(graph: Graph) -> str:
    """A Mermaid flowchart: transactions are boxes, an arrow is an output spent by a leaf, after a wait in blocks."""
    lines = ["flowchart LR"]
    names = [template.__name__ for template in DEPOSIT_TEMPLATES[:1]] + ["ClaimFunding"] * (graph.instance is not None)
    for name in names:
        lines.append(f"    {name}([{name}])")
    for item in graph.txs.values():
        shape = f"[[{item.name}]]" if item.template.presigned else f"[{item.name}]"
        lines.append(f"    {item.name}{shape}")
    for item in graph.txs.values():
        for entry in item.inputs:
            maker, _, output = entry.source.name.partition(".")
            wait = f", {entry.wait} blocks" if entry.wait else ""
            lines.append(f"    {maker} -- {output}: {entry.leaf}{wait} --> {item.name}")
    return "\n".join(lines)
