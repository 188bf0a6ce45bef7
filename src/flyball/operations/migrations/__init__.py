"""The schema's migrations: forward only, one file each, applied by `backends.db.migrate`."""
