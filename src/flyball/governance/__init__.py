"""Who may and who did: actors, roles, approvals, policies, the hash-chained audit trail."""
