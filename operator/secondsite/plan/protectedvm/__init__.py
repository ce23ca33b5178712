"""What a ProtectedVM needs next and what is to be said of it: chains of checks over one picture of both sites."""
