"""Jobs that span the rooms below: garbage collection, doctor, export, audit of a home."""
