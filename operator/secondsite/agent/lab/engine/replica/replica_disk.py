"""The files of one disk at the target: base, sealed layers, and the part of the open cycle.

    base.raw  base.hashes  base.xxh3  layers/{point}.lay  incoming/{cycle}.part

Which of them count is said by the store's catalogue alone.
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from secondsite.agent.lab.engine.durable import make_directory, sync_directory
from secondsite.agent.lab.engine.errors import StoreDamaged
from secondsite.agent.lab.engine.replica.base import BaseImage
from secondsite.agent.lab.engine.replica.layer import Layer, LostLayer, write_merged
from secondsite.agent.lab.engine.replica.part import IncomingPart
from secondsite.agent.lab.engine.replica.salvage import rebuild_index
from secondsite.agent.lab.engine.replica.view import DiskView, Heal
from secondsite.wire.peer import DiskPlan

_log = logging.getLogger(__name__)


class ReplicaDisk:
    """One disk of a replica. The store serialises what changes it."""

    def __init__(self, folder: Path, name: str, size: int, *, established: bool = False, made: bool = False) -> None:
        """`made`: by this process, which has let go of its files since."""
        self.name = name
        self._folder, self._layers_folder, self._incoming_folder = folder, folder / "layers", folder / "incoming"
        for needed in () if made else (folder, self._layers_folder, self._incoming_folder):
            make_directory(needed)
        self.base = BaseImage(folder, size, established=established)
        if not made:
            sync_directory(folder)
        self._layers: dict[str, Layer] = {}
        self.part: IncomingPart | None = None

    @property
    def size(self) -> int:
        return self.base.size

    def recover(self, points: Collection[str], cycle: str | None) -> None:
        """Load the layers that the catalogue names, take back what an unfinished commit moved, remove the rest."""
        if cycle is not None and self._layer_path(cycle).exists():
            # Its frames were acknowledged, so they are not garbage although the commit did not happen.
            self._move(self._layer_path(cycle), self._part_path(cycle))
        for folder, wanted in (
            (self._layers_folder, {self._layer_path(point) for point in points}),
            (self._incoming_folder, {self._part_path(cycle)} if cycle else set()),
        ):
            for path in folder.iterdir():
                if path not in wanted:
                    path.unlink()
        self.find(points)

    def find(self, points: Collection[str]) -> None:
        """Load the layers of points as they are found."""
        for point in points:
            self._layers[point] = self._open_layer(point)

    def load(self, point: str) -> None:
        """Open a layer that was just written."""
        self._layers[point] = Layer(self._layer_path(point))

    def blank(self, point: str) -> None:
        """A layer that changes nothing, durably: at that point this is no disk of the VM. May be repeated."""
        path = self._layer_path(point)
        if not path.exists():
            temporary = path.with_suffix(".tmp")
            temporary.unlink(missing_ok=True)
            part = IncomingPart(temporary, point, 0, DiskPlan(size=self.size, blocks=0))
            part.seal()
            part.close()
            self._move(temporary, path)
        self.load(point)

    def layer(self, point: str) -> Layer:
        return self._layers[point]

    def points(self) -> list[str]:
        """Whose layers are here, in no order."""
        return list(self._layers)

    def layers(self) -> list[Layer]:
        return list(self._layers.values())

    def _open_layer(self, point: str) -> Layer:
        """A layer as it is found: what is wrong with one must not cost the points that do without it."""
        path = self._layer_path(point)
        try:
            return Layer(path)
        except FileNotFoundError:
            return LostLayer(path, f"layer file {path} is missing")
        except OSError as error:
            return LostLayer(path, f"layer file {path} cannot be read: {error}")
        except StoreDamaged as damage:
            _log.warning("%s; it is made again where that can be proven", damage)
        try:
            rebuild_index(path, point)
            return Layer(path)
        except (StoreDamaged, OSError) as error:
            return LostLayer(path, str(error))

    def layer_bytes(self, point: str) -> int:
        return self._layers[point].bytes

    def view(self, chain: Sequence[str], heal: Heal | None = None) -> DiskView:
        """The disk at the last point of the chain."""
        return DiskView(chain[-1], self.name, self.base, [self._layers[point] for point in chain], heal)

    @property
    def incoming_bytes(self) -> int:
        """What the frames of an open cycle take on the disk."""
        return sum(path.stat().st_blocks * 512 for path in self._incoming_folder.iterdir())

    def begin_part(self, cycle: str, generation: int, plan: DiskPlan) -> IncomingPart:
        """Open the part of a cycle, with what is valid in it, in place of any other cycle's."""
        self.drop_part()
        for path in self._incoming_folder.iterdir():
            if path != self._part_path(cycle):
                path.unlink()
        self.part = IncomingPart(self._part_path(cycle), cycle, generation, plan)
        sync_directory(self._incoming_folder)
        return self.part

    def promote(self, cycle: str) -> None:
        """Make the sealed part a layer file. May be repeated."""
        if self._part_path(cycle).exists():
            self._move(self._part_path(cycle), self._layer_path(cycle))

    def drop_part(self) -> None:
        if self.part is not None:
            self.part.close()
            self.part = None

    def merge(self, point: str, into: str | None) -> None:
        """Put the layer of a point into that of its successor, or into the base. May be repeated after a kill."""
        layer = self._layers[point]
        if into is None:
            self.base.absorb(layer)
            return
        path = self._layer_path(into)
        temporary = path.with_suffix(".tmp")
        write_merged(layer, self._layers[into], temporary)
        temporary.replace(path)
        sync_directory(self._layers_folder)

    def forget(self, point: str) -> None:
        """After a merge: whoever opens a view from now on does without the layer."""
        self._layers.pop(point)
        self._layer_path(point).unlink()

    def forget_all_but(self, points: Collection[str]) -> None:
        """Remove the layer of a cycle whose commit failed and that will not be tried again."""
        for point in set(self._layers) - set(points):
            self.forget(point)

    def _move(self, source: Path, target: Path) -> None:
        source.rename(target)
        sync_directory(target.parent)
        sync_directory(source.parent)

    def _layer_path(self, point: str) -> Path:
        return self._layers_folder / f"{point}.lay"

    def _part_path(self, cycle: str) -> Path:
        return self._incoming_folder / f"{cycle}.part"
