"""Image files out and in, with the real qemu-img where there is one."""

import os
import random
import shutil
import struct
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import DamagedBlock, TargetStore, UnknownPoint
from secondsite.agent.lab.engine.image_formats import format_of
from secondsite.agent.lab.engine.images import (
    ImageFormat,
    ImageRefused,
    ImageToolMissing,
    _check_size,
    export_image,
    import_image,
)
from support.engine_pair import BLOCK, Pair

MIB = 1024 * 1024
# 64 MiB is no whole number of cylinders: a VHD made carelessly is rounded up.
SIZES = {"even": 64 * MIB, "odd": 64 * MIB + 512, "plain": 16 * MIB, "small": 5 * MIB + 1536, "ragged": BLOCK + 1000}
VHD_AND_VHDX = [ImageFormat.VHD, ImageFormat.VHDX]

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img here: apt-get install qemu-utils")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A replica with one point: data in front, at the very end, and little between."""
    random_ = random.Random(4)
    with Pair(tmp_path_factory.mktemp("pair"), SIZES) as pair:
        for disk in pair.disks.values():
            for offset in (0, disk.size // 3, disk.size - 700):
                disk.write(offset, random_.randbytes(700))
        pair.cycle()
        yield pair


@pytest.fixture
def head(pair: Pair) -> str:
    assert pair.target.head is not None
    return pair.target.head


def truth(pair: Pair, disk: str) -> bytes:
    return pair.disks[disk].read(0, SIZES[disk])


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def tool(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def only(folder: Path, *names: str) -> bool:
    return {path.name for path in folder.iterdir()} == set(names)


@contextmanager
def refused(folder: Path, match: str, *left: str) -> Iterator[None]:
    """It says why, and nothing half done is left beside what was there."""
    with pytest.raises(ImageRefused, match=match):
        yield
    assert only(folder, *left)


# Round trips


@needs_qemu
@pytest.mark.parametrize("disk", ["even", "odd", "small"])
@pytest.mark.parametrize("image_format", VHD_AND_VHDX)
def test_a_point_goes_out_and_comes_back_to_the_byte(
    pair: Pair, head: str, tmp_path: Path, image_format: ImageFormat, disk: str
) -> None:
    image, raw = tmp_path / f"disk.{image_format.lower()}", tmp_path / "back.raw"
    export_image(pair.target, head, disk, image, image_format)
    assert only(tmp_path, image.name)
    assert allocated(image) < 8 * MIB
    assert import_image(image, raw) == SIZES[disk] == raw.stat().st_size
    assert raw.read_bytes() == truth(pair, disk)
    assert allocated(raw) < 2 * MIB
    assert only(tmp_path, image.name, raw.name)
    assert {path.stat().st_mode & 0o777 for path in (image, raw)} == {0o600}


@pytest.mark.parametrize("disk", list(SIZES))
def test_raw_needs_no_tool(pair: Pair, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str) -> None:
    monkeypatch.setenv("PATH", "")
    image = tmp_path / "disk.raw"
    export_image(pair.target, head, disk, image, ImageFormat.Raw)
    assert image.read_bytes() == truth(pair, disk)
    assert allocated(image) < 2 * MIB
    if SIZES[disk] % 512 == 0:
        assert import_image(image, tmp_path / "back.raw") == SIZES[disk]
        assert (tmp_path / "back.raw").read_bytes() == truth(pair, disk)
        assert allocated(tmp_path / "back.raw") < 2 * MIB
    else:
        with refused(tmp_path, "whole sectors", image.name):
            import_image(image, tmp_path / "back.raw")


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


@needs_qemu
@pytest.mark.parametrize("name", ["dynamic.vhd", "dynamic.vhdx"])
def test_dynamic_images_are_read_too(pair: Pair, images: dict[str, bytes], tmp_path: Path, name: str) -> None:
    (tmp_path / "disk").write_bytes(images[name])
    assert import_image(tmp_path / "disk", tmp_path / "back.raw") == SIZES["plain"]
    assert (tmp_path / "back.raw").read_bytes() == truth(pair, "plain")


# Names


@needs_qemu
@pytest.mark.parametrize("name", ["nbd:localhost:1", "json:{}", "a,file.driver=null-co", "-O qcow2", "%s \udcff\n"])
def test_a_name_means_nothing_but_the_file(
    pair: Pair, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    export_image(pair.target, head, "small", Path(name), ImageFormat.VHDX)
    (tmp_path / name).rename(tmp_path / f"{name}.vhdx")
    assert import_image(Path(f"{name}.vhdx"), Path(name)) == SIZES["small"]
    assert (tmp_path / name).read_bytes() == truth(pair, "small")


@pytest.mark.parametrize("image_format", list(ImageFormat))
@pytest.mark.parametrize("dangling", [False, True])
def test_what_is_there_is_not_replaced(
    pair: Pair, head: str, tmp_path: Path, image_format: ImageFormat, dangling: bool
) -> None:
    if image_format is not ImageFormat.Raw and shutil.which("qemu-img") is None:
        pytest.skip("no qemu-img here")
    there = tmp_path / "there"
    if dangling:
        there.symlink_to(tmp_path / "nowhere")
    else:
        there.write_bytes(b"precious")
    with refused(tmp_path, "exists and is not replaced", "there"):
        export_image(pair.target, head, "small", there, image_format)
    source = tmp_path / "source.raw"
    source.write_bytes(bytes(512))
    with refused(tmp_path, "exists and is not replaced", "there", "source.raw"):
        import_image(source, there)
    assert there.is_symlink() if dangling else there.read_bytes() == b"precious"


# Without the tool


@pytest.mark.parametrize("image_format", VHD_AND_VHDX)
def test_without_qemu_img_the_export_says_what_to_install(
    pair: Pair, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_format: ImageFormat
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageToolMissing, match=r"disk small at point .*no qemu-img in PATH=''.*install qemu-utils"):
        export_image(pair.target, head, "small", tmp_path / "disk", image_format)
    assert only(tmp_path)


def test_without_qemu_img_the_import_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "disk.vhdx").write_bytes(b"vhdxfile".ljust(MIB, b"\0"))
    with pytest.raises(ImageToolMissing, match=r"import of .*disk\.vhdx.*install qemu-utils"):
        import_image(tmp_path / "disk.vhdx", tmp_path / "disk.raw")
    assert only(tmp_path, "disk.vhdx")


# What is refused


@pytest.fixture(scope="module")
def images(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One image of each kind, of the plain disk, made by qemu-img."""
    folder = tmp_path_factory.mktemp("images")
    disk = pair.disks["plain"].path
    for name, driver, options in (
        ("fixed.vhd", "vpc", "subformat=fixed,force_size=on"),
        ("dynamic.vhd", "vpc", "subformat=dynamic,force_size=on"),
        ("fixed.vhdx", "vhdx", "subformat=fixed"),
        ("dynamic.vhdx", "vhdx", "subformat=dynamic"),
    ):
        tool("convert", "-f", "raw", "-O", driver, "-o", options, disk, folder / name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
def test_a_refusal_of_the_tool_names_the_file_and_what_was_said(images: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "cut.vhdx").write_bytes(images["fixed.vhdx"][:-MIB])
    with pytest.raises(ImageRefused) as refusal:
        import_image(tmp_path / "cut.vhdx", tmp_path / "disk.raw")
    message = str(refusal.value)
    assert str(tmp_path / "cut.vhdx") in message
    assert "probably been truncated" in message
    assert "/proc/" not in message
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
        (bytes(damaged), "checksum"),
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
    assert import_image(tmp_path / "disk.vhd", tmp_path / "disk.raw") == SIZES["plain"]
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
    os.truncate(tmp_path / "disk.img", 4 * BLOCK)
    size = import_image(tmp_path / "disk.img", tmp_path / "disk.raw", ImageFormat.Raw)
    assert size == 4 * BLOCK
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


# Exports that fail


@needs_qemu
def test_disks_that_a_format_cannot_hold_are_refused(pair: Pair, head: str, tmp_path: Path) -> None:
    for image_format in VHD_AND_VHDX:
        with refused(tmp_path, "whole sectors of 512; export it as Raw"):
            export_image(pair.target, head, "ragged", tmp_path / "disk", image_format)
    _check_size("export", 2040 << 30, ImageFormat.VHD)
    _check_size("export", 64 << 40, ImageFormat.VHDX)
    with pytest.raises(ImageRefused, match="VHDX or Raw"):
        _check_size("export", (2040 << 30) + 512, ImageFormat.VHD)
    with pytest.raises(ImageRefused, match="export it as Raw"):
        _check_size("export", (64 << 40) + 512, ImageFormat.VHDX)


def failing_tool(folder: Path, script: str) -> str:
    folder.mkdir()
    (folder / "qemu-img").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "qemu-img").chmod(0o755)
    return str(folder)


def test_what_a_failing_tool_says_is_bounded_and_printable(
    pair: Pair, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    script = 'for last; do :; done; echo half > "$last"; printf "\\033[31mNo space\\n" >&2'
    script += "; yes x | head -c 300000 >&2; exit 3"
    monkeypatch.setenv("PATH", failing_tool(tmp_path / "bin", script))
    with refused(target, "ended with 3 and said: "):
        try:
            export_image(pair.target, head, "small", target / "disk.vhdx", ImageFormat.VHDX)
        except ImageRefused as refusal:
            message = str(refusal)
            raise
    assert "No space x x" in message
    assert message.isprintable()
    assert len(message) < 3000


def test_a_tool_that_is_killed_leaves_nothing(
    pair: Pair, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    script = 'for last; do :; done; echo half > "$last"; kill -9 $$'
    monkeypatch.setenv("PATH", failing_tool(tmp_path / "bin", script))
    with refused(target, "ended with -9 and said: nothing"):
        export_image(pair.target, head, "small", target / "disk.vhd", ImageFormat.VHD)


def test_what_the_store_refuses_leaves_nothing(pair: Pair, head: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownPoint):
        export_image(pair.target, "never", "small", tmp_path / "disk", ImageFormat.Raw)
    with pytest.raises(KeyError):
        export_image(pair.target, head, "none", tmp_path / "disk", ImageFormat.Raw)
    assert only(tmp_path)


def test_a_damaged_point_is_not_exported(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with Pair(tmp_path, {"a": 4 * BLOCK}) as pair:
        pair.disks["a"].write(2 * BLOCK, b"x" * BLOCK)
        point = pair.cycle().cycle
        layer = next((tmp_path / "target").rglob("*.lay"))
        content = bytearray(layer.read_bytes())
        content[content.index(b"x" * 100) + 5000] ^= 1
        pair.target.close()
        layer.write_bytes(content)
        pair.target = TargetStore(tmp_path / "target", "vm")
        with pytest.raises(DamagedBlock):
            export_image(pair.target, point, "a", out / "disk.raw", ImageFormat.Raw)
    assert only(out)
