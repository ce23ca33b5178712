"""The relations inside a NetworkMapping that the API server refuses to see broken.

List rules run even when an item is malformed, so each is guarded: what is wrong with the item is said once, at the
item. `[x].all(n, ...)` binds x once; without it every comparison would parse the addresses again and exceed the cost
limit.
"""

from secondsite.api.markers import Rule, say

_BOTH = "!isCIDR(self.source) || !isCIDR(self.target) || "

PAIR = (
    Rule(
        _BOTH + "cidr(self.source).ip().family() == cidr(self.target).ip().family()",
        "must be of the same family as `source`: both IPv4 or both IPv6",
        path=".target",
    ),
    Rule(
        "!has(self.gateway) || !isIP(self.gateway) || !isCIDR(self.target) "
        "|| cidr(self.target).containsIP(self.gateway)",
        "must be inside `target`",
        expression=say("must be inside `target`, which is '%s'", "self.target"),
        path=".gateway",
    ),
)


def _explicit_inside(side: str) -> Rule:
    outside = f"self.explicit.filter(e, isIP(e.{side}) && !cidr(self.{side}).containsIP(e.{side}))"
    return Rule(
        f"!has(self.explicit) || !isCIDR(self.{side}) || "
        f"[cidr(self.{side})].all(s, self.explicit.all(e, !isIP(e.{side}) || s.containsIP(e.{side})))",
        f"must have every `{side}` inside the pair's `{side}`",
        expression=say(f"must have every `{side}` inside '%s': '%s' is not", f"self.{side}", f"{outside}[0].{side}"),
        path=".explicit",
    )


EXPLICIT = (_explicit_inside("source"), _explicit_inside("target"))


def _once(side: str) -> Rule:
    # indexOf compares inside the server's own code: a twentieth of the time of `exists_one`, for 4096 pairs.
    twice = f"[self.map(e, e.{side})].map(l, l.filter(a, l.indexOf(a) != l.lastIndexOf(a))[0])[0]"
    return Rule(
        f"[self.map(e, e.{side})].all(l, l.all(a, l.indexOf(a) == l.lastIndexOf(a)))",
        f"must be one to one: no two pairs with the same `{side}`",
        expression=say(f"must be one to one: `{side}` '%s' is there twice", twice),
    )


ONE_TO_ONE = (_once("source"), _once("target"))


def _disjoint(side: str) -> Rule:
    wider = f"self.filter(a, !self.exists_one(b, cidr(a.{side}).containsCIDR(b.{side})))[0].{side}"
    return Rule(
        f"!self.all(s, isCIDR(s.{side})) || "
        f"[self.map(s, cidr(s.{side}))].all(n, n.all(a, n.exists_one(b, a.containsCIDR(b))))",
        f"must not have two pairs whose `{side}` subnets overlap",
        expression=say(f"must not have two pairs whose `{side}` subnets overlap: '%s' contains another one", wider),
    )


OVERLAPS = (_disjoint("source"), _disjoint("target"))

UNIQUE_ADDRESSES = Rule("self.all(a, self.exists_one(b, a == b))", "must not name the same server twice")

_UNEQUAL = "isCIDR(s.source) && isCIDR(s.target) && cidr(s.source).prefixLength() != cidr(s.target).prefixLength()"

OFFSET = (
    Rule(
        "self.addressMode != 'Offset' || (has(self.subnets) && self.subnets.size() > 0)",
        "must list at least one pair when `addressMode` is 'Offset'",
        reason="FieldValueRequired",
        path=".subnets",
    ),
    Rule(
        f"self.addressMode != 'Offset' || !has(self.subnets) || !self.subnets.exists(s, {_UNEQUAL})",
        "must have pairs of equal prefix length when `addressMode` is 'Offset'",
        expression=say(
            "must have pairs of equal prefix length when `addressMode` is 'Offset': '%s' and '%s' differ",
            f"self.subnets.filter(s, {_UNEQUAL})[0].source",
            f"self.subnets.filter(s, {_UNEQUAL})[0].target",
        ),
        path=".subnets",
    ),
)

_BY_DHCP = "when `addressMode` is 'DHCP': the guest gets its settings from the DHCP server"

DHCP = (
    Rule(
        "self.addressMode != 'DHCP' || !has(self.dnsServers) || self.dnsServers.size() == 0",
        f"may not be set {_BY_DHCP}",
        reason="FieldValueForbidden",
        path=".dnsServers",
    ),
    Rule(
        "self.addressMode != 'DHCP' || !has(self.subnets) || !self.subnets.exists(s, has(s.gateway))",
        f"may not have a `gateway` {_BY_DHCP}",
        reason="FieldValueForbidden",
        path=".subnets",
    ),
    Rule(
        "self.addressMode != 'DHCP' || !has(self.subnets) "
        "|| !self.subnets.exists(s, has(s.explicit) && s.explicit.size() > 0)",
        f"may not have `explicit` addresses {_BY_DHCP}",
        reason="FieldValueForbidden",
        path=".subnets",
    ),
)
