"""The network plan: which network and which addresses each adapter gets at the other site, and why."""
