"""Image files of others: what is read, and what is refused."""

import os
import random
import struct
import uuid
from pathlib import Path

import pytest

from secondsite.agent.lab.engine.media.image_formats import format_of
from secondsite.agent.lab.engine.media.images import ImageFormat, ImageRefused, ImageToolMissing, import_image
from secondsite.wire.peer import BLOCK_BYTES
from support.engine_images import MIB, allocated, needs_qemu, only, refused, tool

SIZE = 16 * MIB


@pytest.fixture(scope="module")
def content() -> bytes:
    """A disk with data in front, at the very end, and little between."""
    disk = bytearray(SIZE)
    for offset in (0, SIZE // 3, SIZE - 700):
        disk[offset : offset + 700] = os.urandom(700)
    return bytes(disk)


@pytest.fixture(scope="module")
def images(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One image of each kind, of that disk, made by qemu-img."""
    folder = tmp_path_factory.mktemp("images")
    disk = folder / "raw"
    disk.write_bytes(content)
    for name, driver, options in (
        ("fixed.vhd", "vpc", "subformat=fixed,force_size=on"),
        ("dynamic.vhd", "vpc", "subformat=dynamic,force_size=on"),
        ("fixed.vhdx", "vhdx", "subformat=fixed"),
        ("dynamic.vhdx", "vhdx", "subformat=dynamic"),
    ):
        tool("convert", "-f", "raw", "-O", driver, "-o", options, disk, folder / name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_qemu
@pytest.mark.parametrize("name", ["dynamic.vhd", "dynamic.vhdx"])
def test_dynamic_images_are_read_too(content: bytes, images: dict[str, bytes], tmp_path: Path, name: str) -> None:
    (tmp_path / "disk").write_bytes(images[name])
    assert import_image(tmp_path / "disk", tmp_path / "back.raw") == SIZE
    assert (tmp_path / "back.raw").read_bytes() == content


def test_zeros_that_take_room_do_not_after_the_import(tmp_path: Path) -> None:
    content = os.urandom(512) + bytes(6 * MIB) + os.urandom(1024)
    (tmp_path / "dense.img").write_bytes(content)
    assert import_image(tmp_path / "dense.img", tmp_path / "sparse") == len(content)
    assert (tmp_path / "sparse").read_bytes() == content
    assert allocated(tmp_path / "sparse") < MIB


def test_data_between_holes_at_any_place_is_copied(tmp_path: Path) -> None:
    random_ = random.Random(7)
    with (tmp_path / "holes.raw").open("wb") as file:
        file.truncate(40 * MIB)
        for _ in range(60):
            file.seek(random_.randrange(40 * MIB - 9000))
            file.write(random_.randbytes(random_.randrange(1, 9000)))
    import_image(tmp_path / "holes.raw", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "holes.raw").read_bytes()


def test_without_qemu_img_the_import_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "disk.vhdx").write_bytes(b"vhdxfile".ljust(MIB, b"\0"))
    with pytest.raises(ImageToolMissing, match=r"import of .*disk\.vhdx.*install qemu-utils"):
        import_image(tmp_path / "disk.vhdx", tmp_path / "disk.raw")
    assert only(tmp_path, "disk.vhdx")


# What is refused


@needs_qemu
@pytest.mark.parametrize("name", ["fixed.vhd", "dynamic.vhd", "fixed.vhdx", "dynamic.vhdx"])
@pytest.mark.parametrize("missing", [1, 512, 65536, MIB, 0.5, 0.999])
def test_a_truncated_image_is_refused(images: dict[str, bytes], tmp_path: Path, name: str, missing: float) -> None:
    content = images[name]
    cut = missing if isinstance(missing, int) else int(len(content) * missing) // 512 * 512
    (tmp_path / name).write_bytes(content[: len(content) - cut])
    with refused(tmp_path, name, name):
        import_image(tmp_path / name, tmp_path / "disk.raw")


@needs_qemu
def test_a_dynamic_vhd_that_lost_its_end_is_not_taken_for_raw(images: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(images["dynamic.vhd"][:-512])
    with refused(tmp_path, "begins as a VHD and does not end as one", "disk"):
        import_image(tmp_path / "disk", tmp_path / "disk.raw")


@needs_qemu
def test_a_refusal_of_the_tool_names_the_file_and_what_was_said(images: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "cut.vhdx").write_bytes(images["fixed.vhdx"][:-MIB])
    with pytest.raises(ImageRefused) as refusal:
        import_image(tmp_path / "cut.vhdx", tmp_path / "disk.raw")
    message = str(refusal.value)
    assert str(tmp_path / "cut.vhdx") in message
    assert "probably been truncated" in message
    assert "/proc/" not in message
    assert "driver=" not in message
    assert len(message) < 3000


def with_footer(content: bytes, *, front: bool = False, **fields: tuple[int, bytes]) -> bytes:
    """A VHD whose footers say something else, with checksums that hold."""
    changed = bytearray(content)
    for start in [len(content) - 512, *([0] if front else [])]:
        for offset, value in fields.values():
            changed[start + offset : start + offset + len(value)] = value
        changed[start + 64 : start + 68] = bytes(4)
        checksum = ~sum(changed[start : start + 512]) & 0xFFFFFFFF
        changed[start + 64 : start + 68] = checksum.to_bytes(4)
    return bytes(changed)


DIFFERENCING = (60, (4).to_bytes(4))


@needs_qemu
def test_a_vhd_that_is_not_a_whole_disk_is_refused(images: dict[str, bytes], tmp_path: Path) -> None:
    dynamic, fixed = images["dynamic.vhd"], images["fixed.vhd"]
    huge = (48, (1 << 40).to_bytes(8))
    damaged = bytearray(fixed)
    damaged[-100] ^= 1
    for content, reason in (
        (with_footer(dynamic, front=True, kind=DIFFERENCING), "type 4, no whole disk"),
        (with_footer(fixed, kind=DIFFERENCING), "type 4, no whole disk"),
        (with_footer(fixed, size=huge), "does not fit into the file"),
        (with_footer(dynamic, size=huge), "the two copies of its footer differ"),
        (dynamic[:512] + fixed[512:], "its first sector contradicts its last"),
        (with_footer(dynamic, kind=(60, (2).to_bytes(4)), size=(48, bytes(8))), "its first sector contradicts"),
        (bytes(512) + dynamic[512:], "its first sector contradicts its last"),
        (bytes(damaged), "checksum of its footer"),
    ):
        (tmp_path / "disk.vhd").write_bytes(content)
        with refused(tmp_path, reason, "disk.vhd"):
            import_image(tmp_path / "disk.vhd", tmp_path / "disk.raw")


@needs_qemu
def test_a_vhdx_with_a_parent_is_refused(images: dict[str, bytes], tmp_path: Path) -> None:
    content = bytearray(images["dynamic.vhdx"])
    table = content.index(b"metadata")
    # The item "file parameters" of the VHDX specification; its second bit of flags says that there is a parent.
    entry = content.index(uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B").bytes_le, table)
    item = table + struct.unpack_from("<I", content, entry + 16)[0]
    content[item + 4] |= 2
    (tmp_path / "disk.avhdx").write_bytes(content)
    with refused(tmp_path, "no differencing disk", "disk.avhdx"):
        import_image(tmp_path / "disk.avhdx", tmp_path / "disk.raw")


@needs_qemu
def test_the_size_of_a_vhd_is_not_that_of_its_geometry(images: dict[str, bytes], tmp_path: Path) -> None:
    # As other programs write it: 481 cylinders, 4 heads and 17 sectors are a little less than 16 MiB.
    geometry = (56, (481).to_bytes(2) + bytes([4, 17]))
    changed = with_footer(images["fixed.vhd"], creator=(28, b"vpc "), geometry=geometry)
    (tmp_path / "disk.vhd").write_bytes(changed)
    assert import_image(tmp_path / "disk.vhd", tmp_path / "disk.raw") == SIZE
    assert (tmp_path / "disk.raw").read_bytes() == images["fixed.vhd"][:-512]


@needs_qemu
@pytest.mark.parametrize("driver", ["qcow2", "qcow", "qed", "vmdk", "vdi"])
def test_formats_of_others_are_refused(tmp_path: Path, driver: str) -> None:
    tool("create", "-f", driver, tmp_path / "disk", "1M")
    with refused(tmp_path, "may refer to other files", "disk"):
        import_image(tmp_path / "disk", tmp_path / "disk.raw")


@needs_qemu
def test_a_qcow2_on_a_backing_file_does_not_show_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret".ljust(MIB, b"s"))
    tool("create", "-f", "qcow2", "-b", secret, "-F", "raw", tmp_path / "disk.img")
    with refused(tmp_path, "qcow", "secret", "disk.img"):
        import_image(tmp_path / "disk.img", tmp_path / "disk.raw")
    # As raw it is the bytes of the file, not of the one that it names.
    os.truncate(tmp_path / "disk.img", 4 * BLOCK_BYTES)
    size = import_image(tmp_path / "disk.img", tmp_path / "disk.raw", ImageFormat.Raw)
    assert size == 4 * BLOCK_BYTES
    assert (tmp_path / "disk.raw").read_bytes() == (tmp_path / "disk.img").read_bytes()


@pytest.mark.parametrize(
    ("name", "expected"), [("disk.vhd", None), ("disk.vhdx", None), ("disk", ImageFormat.VHD), ("d", ImageFormat.VHDX)]
)
def test_what_should_be_something_else_is_refused(tmp_path: Path, name: str, expected: ImageFormat | None) -> None:
    (tmp_path / name).write_bytes(bytes(MIB))
    with refused(tmp_path, "its bytes say Raw", name):
        import_image(tmp_path / name, tmp_path / "disk.raw", expected)


def test_a_guest_cannot_make_its_raw_disk_look_like_an_image(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"vhdxfile".ljust(MIB, b"\0"))
    with refused(tmp_path, "should be Raw, and its bytes say VHDX", "disk.raw"):
        import_image(tmp_path / "disk.raw", tmp_path / "copy")
    assert import_image(tmp_path / "disk.raw", tmp_path / "copy", ImageFormat.Raw) == MIB


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with refused(tmp_path, "not a regular file", "pipe"):
        import_image(tmp_path / "pipe", tmp_path / "disk.raw")
    with refused(tmp_path, "not whole sectors", "pipe", "empty.raw"):
        (tmp_path / "empty.raw").touch()
        import_image(tmp_path / "empty.raw", tmp_path / "disk.raw")
    with pytest.raises(FileNotFoundError):
        import_image(tmp_path / "nothing", tmp_path / "disk.raw")


@pytest.mark.parametrize("size", [512, 1024, 65536])
def test_the_smallest_images_are_told_apart(tmp_path: Path, size: int) -> None:
    (tmp_path / "image").write_bytes(bytes(size))
    with (tmp_path / "image").open("rb") as file:
        assert format_of(file.fileno(), tmp_path / "image", None) is ImageFormat.Raw
