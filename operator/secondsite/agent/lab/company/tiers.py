"""What a company of that size runs: kinds of servers, how many of each at a site, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass

WINDOWS = ("Windows Server 2022", "Windows Server 2022", "Windows Server 2019", "Windows Server 2016")
LINUX = ("Ubuntu Linux 24.04", "Red Hat Enterprise Linux 9", "SUSE Linux Enterprise Server 15", "Debian GNU/Linux 12")
OLD = ("Windows Server 2012 R2", "CentOS Linux 7")


@dataclass(frozen=True)
class Tier:
    """One kind of servers. `disks` are sizes in MiB, the first the system's; `writes` per second of the busy ones."""

    name: str
    prefix: str
    count: int
    group: str
    networks: tuple[str, ...]
    systems: tuple[str, ...]
    storage: str
    disks: tuple[int, ...] = (32,)
    generation: int = 2
    port: int = 0
    writes: float = 0.0
    """Of the first VM of the kind; the others are quiet."""
    legacy: bool = False
    same_names: bool = False
    """Its adapters bear one name, as Hyper-V gives it."""


TIERS = (
    Tier("domain controllers", "dc", 6, "Production", ("Management",), WINDOWS, "Gold", (32,), port=389, writes=0.5),
    Tier("file servers", "fs", 22, "Production", ("Application",), WINDOWS, "Silver", (32, 128, 128), writes=1),
    Tier("ERP application servers", "erp", 42, "Production", ("Application",), WINDOWS, "Gold", (32, 64), port=8000),
    Tier("ERP batch servers", "bat", 14, "Production", ("Application", "Management"), WINDOWS, "Silver", (32, 32)),
    Tier("web farms", "web", 84, "Production", ("Frontend",), LINUX, "Silver", (16,), port=80, writes=0.2),
    Tier("integration servers", "int", 46, "Production", ("Application", "DMZ"), LINUX, "Silver", (16, 32), port=8080),
    Tier("mail servers", "mail", 8, "Production", ("Frontend", "Management"), WINDOWS, "Gold", (32, 128), port=25),
    Tier("print servers", "prt", 6, "Production", ("Application",), WINDOWS, "Bronze"),
    Tier("monitoring", "mon", 10, "Production", ("Management",), LINUX, "Bronze", (16, 64), writes=0.5),
    Tier(
        "firewalls and load balancers", "fw", 18, "Production", ("DMZ", "Frontend", "Management"), LINUX, "Gold",
        (16,), same_names=True,
    ),
    Tier("legacy applications", "leg", 14, "Production", ("Application",), OLD, "Bronze", (16,), 1, legacy=True),
    Tier(
        "SQL servers", "sql", 54, "Database", ("Database", "Database"), WINDOWS, "Gold", (32, 64, 32), port=1433,
        writes=1, same_names=True,
    ),
    Tier("PostgreSQL servers", "pg", 18, "Database", ("Database",), LINUX, "Gold", (16, 64), port=5432, writes=0.5),
    Tier("virtual desktops", "vdi", 96, "Desktop", ("Desktops",), ("Windows 11 Enterprise",), "Bronze", (16,)),
    Tier("branch servers", "br", 24, "Branch", ("Branches",), WINDOWS, "Bronze", (32, 32), writes=0.1),
    Tier("build and test", "dev", 38, "Development", ("Tenants",), LINUX, "Bronze", (16,)),
)  # fmt: skip
