"""Where an operator's watcher takes what it must hand in to answer a challenge."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bitvm_bridge.errors import BadInput


class ProofSource(Protocol):
    """Whoever has the proofs: a folder, a prover, a service of the second layer."""

    def proof(self, instance_id: bytes) -> bytes | None:
        """The document that the program of an instance reads; None where there is none, or none yet."""


@dataclass(frozen=True)
class ProofFolder:
    """Files named by the id of the instance in hex, with the ending `.json`."""

    folder: Path

    def proof(self, instance_id: bytes) -> bytes | None:
        """The contents of the file; None where there is none. Raises BadInput for one that cannot be read."""
        path = self.folder / f"{instance_id.hex()}.json"
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadInput("proof", path, f"a readable file ({error.strerror})") from None
