"""A layer whose footer was damaged after it was opened must not stop a promotion that can only go forward."""

from pathlib import Path

from support.engine_pair import BLOCK, pattern
from support.engine_roles import Sites


def test_a_footer_damaged_since_is_put_right_before_the_point_of_no_return(tmp_path: Path) -> None:
    with Sites(tmp_path, {"data": 9 * BLOCK, "system": BLOCK + 512}) as sites:
        a, b = sites.a, sites.b
        for block in range(9):
            a.write("data", block * BLOCK, pattern(block))
        head = a.cycle(b).cycle
        b.fail_over(head, 2)
        for layer in b.store_root.glob("disks/*/layers/*.lay"):
            content = bytearray(layer.read_bytes())
            content[-30:] = bytes(30)
            layer.write_bytes(content)
        b.promote()
        assert b.image() == a.image()
