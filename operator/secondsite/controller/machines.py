"""Which ProtectedVMs are meant by a VM of a site: by its id where that is known, by cloud and name before."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.controller.ports import Key, SiteKey
from secondsite.plan.observed import SiteView


@dataclass(slots=True)
class Machines:
    """An index for waking and for roll-ups. It may name too many keys, never too few."""

    _by_id: dict[tuple[str, str], set[Key]] = field(default_factory=lambda: defaultdict(set))
    _by_name: dict[tuple[SiteKey, str, str], set[Key]] = field(default_factory=lambda: defaultdict(set))
    _id: dict[Key, str] = field(default_factory=dict)
    _name: dict[Key, tuple[SiteKey, str, str]] = field(default_factory=dict)

    def put(self, key: Key, spec: ProtectedVMSpec) -> None:
        """Take in what a ProtectedVM names."""
        self.drop(key)
        site = (key.namespace, spec.vm.site_ref.name)
        if spec.vm.id:
            self.note(key, spec.vm.id)
        elif spec.vm.name:
            self._name[key] = name = (site, spec.vm.cloud, spec.vm.name)
            self._by_name[name].add(key)

    def note(self, key: Key, vm_id: str) -> None:
        """The VM that this key names was found to have this id."""
        known = self._id.get(key)
        if vm_id and vm_id != known:
            if known:
                self._by_id[key.namespace, known].discard(key)
            self._id[key] = vm_id
            self._by_id[key.namespace, vm_id].add(key)

    def drop(self, key: Key) -> None:
        """Forget a ProtectedVM."""
        if (vm_id := self._id.pop(key, None)) is not None:
            self._by_id[key.namespace, vm_id].discard(key)
        if (name := self._name.pop(key, None)) is not None:
            self._by_name[name].discard(key)

    def id_of(self, key: Key) -> str:
        """The id last found for it, or nothing."""
        return self._id.get(key, "")

    def same(self, key: Key) -> set[Key]:
        """The other ProtectedVMs that name the same VM."""
        found = set(self._by_id.get((key.namespace, self._id.get(key, "")), ()))
        if name := self._name.get(key):
            found |= self._by_name[name]
        return found - {key}

    def meant(self, site: SiteKey, vm_id: str, view: SiteView) -> set[Key]:
        """The ProtectedVMs that news of this VM concerns."""
        found = set(self._by_id.get((site[0], vm_id), ()))
        if vm := view.vms.get(vm_id):
            found |= self._by_name.get((site, vm.cloud, vm.name), set())
        return found


def find_id(spec: ProtectedVMSpec, view: SiteView) -> str:
    """The id of the VM that a spec names, where its site can say so without doubt; else nothing."""
    if spec.vm.id:
        return spec.vm.id
    ids = view.vms_by_name.get((spec.vm.cloud, spec.vm.name or ""), ())
    return ids[0] if len(ids) == 1 else ""
