"""Image files out and back in, with the real qemu-img where there is one."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import DamagedBlock, TargetStore, UnknownPoint
from secondsite.agent.lab.engine.media.images import (
    ImageFormat,
    ImageRefused,
    ImageToolMissing,
    _check_size,
    export_image,
    import_image,
)
from support.engine_images import MIB, allocated, needs_qemu, only, refused
from support.engine_pair import BLOCK, Pair

# 64 MiB is no whole number of cylinders: a VHD made carelessly is rounded up.
SIZES = {"even": 64 * MIB, "odd": 64 * MIB + 512, "small": 5 * MIB + 1536, "ragged": BLOCK + 1000}
VHD_AND_VHDX = [ImageFormat.VHD, ImageFormat.VHDX]


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


def test_a_missing_tool_is_noticed_before_the_store_is_read(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageToolMissing):
        export_image(pair.target, "never", "small", tmp_path / "disk", ImageFormat.VHDX)


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
    script += "; yes x | head -c 300000 >&2 || exit 9; exit 3"
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
