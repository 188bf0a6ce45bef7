"""Tables with a meaning: contracts, snapshots, profiles, prediction log, outcomes."""
